'use strict';
'require view';
'require form';
'require poll';
'require uci';
'require tsg.alarms as alarms';
'require tsg.gateway as gateway';
'require tsg.parts as parts';
'require tsg.rules as rules';
'require tsg.shape as shape';

/* Key server and enrolment, and what this gateway does by itself. */

const INTERVAL = 5;
const LONGEST_TOKEN = 4096;
const ADDRESS = /^(tcp:\/\/)?(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?)(:\d{1,5})?$/;
const KEY = /^([A-Za-z0-9+\x2f]{43}=|[0-9A-Za-z.:+=^!*?&<>()[\]{}@%$#\x2f-]{40})$/;

function words(option, pairs) {
	for (const [ value, label ] of pairs)
		option.value(value, label);
}

return view.extend({
	load() {
		parts.style();

		return Promise.all([ gateway.status(), gateway.leds(), uci.load('tsg') ]);
	},

	render([ status, leds ]) {
		this.leds = leds;
		this.map = this.form();
		this.wrong = E('div', { 'id': 'tsg-wrong', 'aria-live': 'polite' });
		this.enrolment = E('div', { 'id': 'tsg-enrolment' });
		this.draw(status);
		poll.add(() => gateway.status().then(fresh => this.draw(fresh)), INTERVAL);

		return this.map.render().then(map => E('div', { 'id': 'tsg-settings' }, [
			E('h2', {}, [ _('Settings of the gateway') ]), this.wrong, this.enrolment, map
		]));
	},

	draw(status) {
		const state = shape.object(status.value);
		const member = state.state == 'sealing' || state.connected === true;
		const token = E('textarea', {
			'id': 'tsg-token', 'class': 'cbi-input-textarea tsg-token', 'rows': 4, 'autocomplete': 'off', 'autocapitalize': 'off',
			'spellcheck': 'false', 'placeholder': 'tsg1-\u2026', 'maxlength': 2 * LONGEST_TOKEN, 'disabled': parts.readonly() ? true : null
		});

		parts.show(this.wrong, shape.list(state.alarms).filter(alarms.isAboutSettings).map(alarms.box));
		/* What somebody has typed outlives a daemon that begins anew. */
		if (status.fault && shape.object(document.getElementById('tsg-token')).value)
			return;
		parts.show(this.enrolment, [ parts.section('tsg-enrolment-panel', _('Join a group'), null, status.fault ? [ parts.missing(status) ] : [
			E('p', {}, [ E('strong', {}, [ _('Fingerprint of this gateway') ]) ]),
			parts.fingerprint(state.fingerprint),
			E('p', {}, [ _('Compare it, group by group, with what the key server shows for this gateway. Only if all groups are the same is it really this box that is let in.') ]),
			member ? E('p', { 'id': 'tsg-member' }, [ _('It is in the group'), ' ', parts.foreign(state.group || '?', 80), '. ',
				_('A new token moves it to the key server and group of that token.') ]) : '',
			E('label', { 'for': 'tsg-token', 'style': 'display:block' }, [ _('Token from the key server (it is used up at the first try)') ]),
			token,
			E('div', { 'class': 'tsg-row' }, [ parts.button(_('Join with this token'), 'positive', () => this.enrol(document.getElementById('tsg-token'))) ]),
			E('p', {}, [ _('Whoever runs the key server makes one with'), ' ',
				parts.code('tsg-server token create --group GROUP --server tcp://ADDRESS:5555'), '. ',
				_('Without a token: fill in address and public key of the key server below, and have the fingerprint approved there.') ])
		]) ]);
	},

	enrol(field) {
		const token = field.value.replace(/\s+/g, '');
		if (!token.startsWith('tsg1-') || token.length > LONGEST_TOKEN) {
			parts.tell(_('This is no token: one begins with \u201ctsg1-\u201d and is in one piece. Copy it again, whole.'), 'danger');

			return Promise.resolve();
		}

		return gateway.enrol(token).then(answer => {
			if (!parts.happened(answer))
				return null;

			field.value = '';
			parts.tell(_('The token was taken. The gateway now asks the key server to let it in.'), 'info');
			/* The gateway has written its settings anew. */
			uci.unload('tsg');

			return this.map.load().then(() => this.map.reset()).then(() => gateway.status()).then(status => this.draw(status));
		});
	},

	form() {
		const map = new form.Map('tsg', null, null);
		this.main(map.section(form.NamedSection, 'main', 'tsg', _('This gateway')));
		this.local(map.section(form.TableSection, 'rule', _('Local rules'),
			_('They count beside the rules of the key server and can only be stricter, unless the group allows \u201cunprotected\u201d here. Empty fields mean: any.')));

		return map;
	},

	main(section) {
		let option;

		option = section.option(form.Flag, 'enabled', _('Protect'), _('Off: the gateway does nothing, and everything crosses unprotected.'));
		option.default = '1';
		option.rmempty = false;

		option = section.option(form.Value, 'name', _('Name of this gateway'), _('What people call it, for example \u201cpress7\u201d. Empty: the name of this box. It counts when the key server first lets this gateway in; after that it is renamed there.'));
		option.datatype = 'maxlength(64)';
		option.placeholder = _('name of this box');

		option = section.option(form.DynamicList, 'server', _('Addresses of the key server'), _('The next one is tried when one does not answer. A token fills this in.'));
		option.placeholder = 'tcp://192.0.2.10:5555';
		option.validate = (id, value) => !value || ADDRESS.test(value) || _('An address looks like %s').format('tcp://192.0.2.10:5555');

		option = section.option(form.Value, 'server_key', _('Public key of the key server'), _('What stands behind \u201cpublic key\u201d in the output of \u201ctsg-server key\u201d. The gateway talks to nobody who has another one.'));
		option.validate = (id, value) => !value || KEY.test(value) || _('It has 44 or 40 characters. Copy it again, whole.');

		option = section.option(form.ListValue, 'fail', _('When there is no key'), _('Stop: nobody can read or forge anything, and the plant may stand. Let pass: the plant goes on, unprotected, with an alarm. This counts until the key server has spoken; then it is a setting of the group.'));
		words(option, [ [ 'closed', _('stop what should be sealed (fail closed)') ], [ 'open', _('let it pass UNPROTECTED (fail open)') ] ]);
		option.default = 'closed';

		option = section.option(form.ListValue, 'attach', _('How it gets at the packets'), _('Automatic takes the best that this box can do; the page Status says which. Choose another one only if support asks for it.'));
		words(option, [ [ 'auto', _('automatic') ], [ 'nfqueue', _('queue of the firewall, automatic (nfqueue)') ], [ 'nfqueue-nft', _('queue, by nftables (nfqueue-nft)') ],
			[ 'nfqueue-iptables', _('queue, by iptables (nfqueue-iptables)') ], [ 'ingress', _('at the ports, fastest (ingress)') ] ]);
		option.default = 'auto';

		option = section.option(form.ListValue, 'oversize', _('Too large packets'), _('Sealing makes packets a little longer. One that no longer fits: either its sender is told to make smaller ones, which nearly every machine understands, or the gateway cuts it into pieces, for those that do not.'));
		words(option, [ [ 'icmp', _('tell the sender (icmp)') ], [ 'fragment', _('cut into pieces (fragment)') ] ]);
		option.default = 'icmp';

		option = section.option(form.Flag, 'cache_keys', _('Keep keys over a power cut'), _('So that the plant starts again after a power cut although the key server is gone. The price: the keys are then on the flash of this box, and whoever steals the box has them, until they end.'));
		option.default = '0';

		option = section.option(form.Flag, 'routed', _('Keys for tunnels'), _('This box is a member of its group also when no port is set on the page Bridge, so that its sealed tunnels can have the keys of the group (Network, Interfaces, protocol \u201cSealed tunnel (TSG)\u201d).'));
		option.default = '0';

		option = section.option(form.ListValue, 'led', _('LED for the state'), _('A lamp of this box that shows how the gateway is. On: sealed. Slow blinking: sealed, and there is an alarm. Fast blinking: not sealed. Off: no gateway runs. Choose one that LuCI\u2019s own LED settings do not use.'));
		const led = uci.get('tsg', 'main', 'led');
		words(option, [ [ '', _('no LED') ] ].concat(this.leds.concat(led && !this.leds.includes(led) ? [ led ] : []).map(name => [ name, shape.text(name, 80) ])));

		option = section.option(form.ListValue, 'log_level', _('Write to the log'), _('Detail and everything are for looking for a fault; they fill the log quickly.'));
		words(option, [ [ 'off', _('nothing') ], [ 'error', _('errors') ], [ 'warn', _('warnings') ], [ 'info', _('what happens') ], [ 'debug', _('detail') ], [ 'trace', _('everything') ] ]);
		option.default = 'info';
	},

	local(section) {
		let option;

		section.addremove = true;
		section.anonymous = true;
		section.addbtntitle = _('Add a rule');

		option = section.option(form.Value, 'name', _('Name'));
		option.placeholder = _('no telnet');
		option.validate = (id, value) => rules.name(value);
		option = section.option(form.ListValue, 'action', _('What happens'));
		words(option, [ [ 'drop', _('drop') ], [ 'encrypt', _('seal') ], [ 'bypass', _('unprotected') ] ]);
		option.default = 'drop';
		option.rmempty = false;
		const proto = section.option(form.Value, 'proto', _('Protocol'));
		proto.placeholder = 'tcp';
		proto.validate = (id, value) => rules.proto(value);
		/* LuCI looks at a field when it is changed, and at no other one. */
		proto.onchange = (event, id) => ports.forEach(one => one.triggerValidation(id));
		option = section.option(form.Value, 'src_ip', _('From address'));
		option.placeholder = '192.0.2.0/24';
		option.validate = (id, value) => rules.address(value);
		option = section.option(form.Value, 'dest_ip', _('To address'));
		option.placeholder = '192.0.2.7';
		option.validate = (id, value) => rules.address(value);
		const ports = [ [ 'src_port', _('From port'), _('any') ], [ 'dest_port', _('To port'), '23' ] ].map(([ name, title, placeholder ]) => {
			const port = section.option(form.Value, name, title);
			port.placeholder = placeholder;
			port.validate = (id, value) => rules.port(value, section.formvalue(id, 'proto'));

			return port;
		});
		option = section.option(form.Flag, 'enabled', _('On'));
		option.default = '1';
	}
});
