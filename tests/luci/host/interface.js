'use strict';
'require form';
'require network';
'require uci';
'require view';

/* LuCI's page of one interface, as far as its protocol makes it. */

const NAME = 'vpn0';

return view.extend({
	load() {
		return Promise.all([ uci.load('network'), L.require('protocol.tsg') ]).then(() => network.getNetwork(NAME, 'tsg'));
	},

	render(protocol) {
		const map = new form.Map('network');
		const section = map.section(form.NamedSection, NAME, 'interface');
		section.tab('general', 'General Settings');
		section.tab('advanced', 'Advanced Settings');
		protocol.renderFormOptions(section);

		return map.render().then(node => E('div', { 'id': 'tsg-interface' }, [
			E('h2', {}, [ `Interfaces \u00bb ${NAME}` ]),
			E('p', { 'id': 'protocol' }, [ protocol.getI18n() ]),
			E('p', { 'id': 'device' }, [ protocol.getIfname() ]),
			E('ul', { 'id': 'errors' }, protocol.getErrors().map(words => E('li', {}, [ words ]))),
			node
		]));
	}
});
