'use strict';
'require baseclass';
'require form';
'require uci';

/* Of LuCI's widgets the choice of an interface. */

return baseclass.extend({
	NetworkSelect: form.ListValue.extend({
		widget(...given) {
			const names = uci.sections('network', 'interface').map(section => section['.name']).filter(name => name != this.exclude);
			this.choices = [ [ '', 'unspecified' ], ...names.map(name => [ name, name ]) ];

			return this.super('widget', given);
		}
	})
});
