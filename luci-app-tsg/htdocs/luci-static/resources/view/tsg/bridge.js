'use strict';
'require view';
'require form';
'require uci';
'require ui';
'require tsg.changes as changes';
'require tsg.gateway as gateway';
'require tsg.parts as parts';
'require tsg.ports as ports';
'require tsg.shape as shape';

/* Which port leads where, what the network cards do by themselves, and whether this box can do its work. */

const GRADES = { problem: _('Problem'), warning: _('Warning'), ok: _('Good') };
const SIGNS = { problem: '\u2717', warning: '!', ok: '\u2713' };
const ADDRESS = /^[0-9A-Fa-f:.]+\/\d{1,3}$/;

return view.extend({
	load() {
		parts.style();

		return Promise.all([ gateway.ports(), gateway.preflight(), uci.load('tsg'), L.resolveDefault(uci.load('network'), null) ]);
	},

	render([ listed, looked ]) {
		this.checks = E('div', { 'id': 'tsg-checks', 'aria-live': 'polite' });
		this.ports = shape.list(shape.object(listed.value).ports).map(shape.object);
		this.offloads = ports.offloads(this.ports);
		this.checked(looked);

		return this.form().render().then(map => E('div', { 'id': 'tsg-bridge' }, [
			E('h2', {}, [ _('Bridge and ports') ]),
			parts.section('tsg-ports', _('Which port leads where?'),
				_('The machines that are to be protected are on one side of this box, the plant network on the other. What crosses from one side to the other is sealed and opened.'),
				listed.fault ? [ parts.missing(listed) ] : [ this.table(), this.wishes() ]),
			parts.section('tsg-offloads', _('What the network cards do by themselves'),
				_('Network cards and their drivers can join and cut packets to save work. Some of them do it wrongly once packets are sealed. Leave all as it is unless the check below, or support, says otherwise. A card can refuse: then it says \u201cfixed\u201d.'),
				listed.fault ? [ parts.missing(listed) ] : [ this.offloads.node ]),
			map, this.checks
		]));
	},

	table() {
		const names = { lan: _('machines'), wan: _('plant network'), none: _('not used') };

		return parts.table([ _('Port'), _('Cable'), _('Leads to'), _('Largest packet (MTU)'), _('Hardware address'), _('In bridge'), _('Switch chip') ],
			this.ports.map((port, at) => [
				parts.port(port.name),
				port.link === true ? _('plugged in') : _('nothing at the other end'),
				E('select', {
					'class': 'cbi-input-select tsg-switch', 'id': 'tsg-role-' + at, 'aria-label': _('Port %s leads to').format(shape.text(port.name, 40)),
					'disabled': parts.readonly() ? true : null
				}, Object.keys(names).map(role => E('option', {
					'value': role, 'selected': role == port.role || role == 'none' && !(port.role in names) ? true : null
				}, [ names[role] ]))),
				parts.foreign(port.mtu == null ? '\u2013' : port.mtu, 12), parts.foreign(port.mac || '\u2013', 40), parts.foreign(port.bridge || '\u2013', 40),
				port.switch == null ? '\u2013' : parts.foreign(port.switch, 40)
			]), _('This box has no network ports that could be used.'));
	},

	wishes() {
		const address = E('select', { 'id': 'tsg-address', 'class': 'cbi-input-select', 'disabled': parts.readonly() ? true : null }, [
			[ 'keep', _('keep what it has') ], [ 'dhcp', _('ask the plant network for one (DHCP)') ],
			[ 'static', _('this one:') ], [ 'none', _('none; then nobody reaches it over these ports') ]
		].map(([ value, label ]) => E('option', { 'value': value }, [ label ])));
		const fixed = this.field('tsg-static', '192.0.2.20/24', { 'aria-label': _('Address of this box, with its prefix length'), 'disabled': true });
		const untagged = _('no VLAN');
		const vlan = this.field('tsg-vlan', untagged, { 'inputmode': 'numeric', 'size': untagged.length + 2, 'value': this.vlan() });
		const standalone = E('input', {
			'id': 'tsg-standalone', 'type': 'checkbox', 'disabled': parts.readonly() ? true : null,
			'checked': uci.sections('tsg', 'bridge').some(bridge => bridge.standalone == '1') ? true : null
		});
		address.addEventListener('change', () => {
			fixed.disabled = address.value != 'static';
			vlan.disabled = address.value == 'none';
		});

		return E('div', {}, [
			E('div', { 'class': 'tsg-row' }, [
				E('label', { 'for': 'tsg-address' }, [ _('Address of this box itself') ]), address, fixed,
				E('span', { 'class': 'tsg-pair' }, [ E('label', { 'for': 'tsg-vlan' }, [ _('in VLAN') ]), vlan ])
			]),
			E('p', {}, [ _('The key server has to be reachable from that address. With a VLAN, its packets carry that number: for plants that keep boxes in a network of their own.') ]),
			E('div', { 'class': 'tsg-row tsg-pair' }, [ standalone, E('label', { 'for': 'tsg-standalone' }, [ _('Without a bridge: the gateway itself connects the ports. Ports of one switch chip are always set up like that.') ]) ]),
			parts.button(_('Set up these ports\u2026'), 'action', () => this.propose({
				address: address.value == 'static' ? fixed.value.trim() : address.value,
				vlan: vlan.disabled ? '' : vlan.value.trim(), standalone: standalone.checked
			}))
		]);
	},

	field(id, placeholder, attributes) {
		return E('input', {
			'id': id, 'type': 'text', 'class': 'cbi-input-text', 'placeholder': placeholder, 'disabled': parts.readonly() ? true : null, ...attributes
		});
	},

	/* In which VLAN the box's address is now: whoever sets the ports up again means that one. */
	vlan() {
		const devices = this.ports.filter(port => port.role == 'lan' || port.role == 'wan').map(port => port.bridge);
		const boxes = uci.sections('tsg', 'bridge').map(bridge => bridge.box).filter(box => box);
		for (const pair of uci.sections('network', 'device'))
			if (pair.type == 'veth' && boxes.includes(pair.peer_name))
				devices.push(pair.name);
		const numbers = uci.sections('network', 'interface').filter(one => one.disabled != '1').map(one => /^(.+)\.(\d+)$/.exec(one.device || ''));
		const found = numbers.find(parsed => parsed && devices.includes(parsed[1]));

		return found ? found[2] : '';
	},

	chosen() {
		const lan = [], wan = [];
		this.ports.forEach((port, at) => {
			const role = document.getElementById('tsg-role-' + at).value;
			if (role == 'lan')
				lan.push(String(port.name));
			else if (role == 'wan')
				wan.push(String(port.name));
		});

		return { lan: lan, wan: wan };
	},

	propose({ address, vlan, standalone }) {
		const { lan, wan } = this.chosen();
		if (!lan.length || wan.length != 1) {
			parts.tell(_('Choose at least one port for the machines, and exactly one for the plant network.'), 'danger');

			return Promise.resolve();
		}
		if (![ 'keep', 'dhcp', 'none' ].includes(address) && !ADDRESS.test(address)) {
			parts.tell(_('An address looks like %s').format('192.0.2.20/24'), 'danger');

			return Promise.resolve();
		}

		if (vlan && !(/^\d{1,4}$/.test(vlan) && +vlan >= 1 && +vlan <= 4094)) {
			parts.tell(_('A VLAN is a number from 1 to 4094.'), 'danger');

			return Promise.resolve();
		}

		return uci.changes().then(waiting => {
			/* The gateway proposes what differs from what is applied; these would stay beside it. */
			if ([ 'network', 'tsg' ].some(config => shape.list(shape.object(waiting)[config]).length)) {
				parts.tell(_('Other changes wait to be applied. Press \u201cSave & Apply\u201d at the end of this page, or take them back under \u201cUnsaved Changes\u201d at its top, then set up the ports.'), 'danger');

				return null;
			}

			return this.ask(lan, wan[0], address, vlan ? +vlan : null, standalone);
		});
	},

	ask(...ports) {
		return Promise.all([ gateway.setup(...ports), L.resolveDefault(uci.load('network'), null) ]).then(([ answer, loaded ]) => {
			if (!parts.happened(answer))
				return;
			if (loaded == null) {
				parts.tell(_('The network settings cannot be read with this login.'), 'danger');
				return;
			}

			const wrong = changes.wrong(answer.value.changes);
			if (wrong)
				parts.tell(wrong, 'danger');
			else
				this.review(answer.value);
		});
	},

	review(proposal) {
		const notes = shape.list(proposal.notes);
		const close = E('button', { 'class': 'btn cbi-button', 'type': 'button', 'click': ui.hideModal }, [ _('Cancel') ]);
		if (!proposal.changes.length) {
			ui.showModal(_('Nothing to change'), [
				E('p', {}, [ _('These ports are set up like this already.') ]), ...this.notes(notes), E('div', { 'class': 'right' }, [ close ])
			]);
			return;
		}

		ui.showModal(_('Set up these ports?'), [
			E('p', {}, [ _('These settings are changed. Nothing happens yet: afterwards, press \u201cSave & Apply\u201d. If this box cannot be reached any more after that, it takes the changes back by itself after %d seconds.').format(L.env.apply_rollback || 90) ]),
			...this.notes(notes),
			E('div', { 'class': 'tsg-changes', 'id': 'tsg-changes', 'dir': 'ltr', 'tabindex': 0 }, proposal.changes.map(change => E('div', {}, [ changes.line(change) ]))),
			E('div', { 'class': 'right' }, [ close, ' ', parts.button(_('Take over these changes'), 'positive', () => {
				changes.stage(proposal.changes);

				return uci.save().then(() => ui.changes.init()).then(() => {
					ui.hideModal();
					parts.tell(_('The changes are noted. Press \u201cSave & Apply\u201d at the end of this page to make them real.'), 'info');
				}, error => {
					ui.hideModal();
					parts.tell(_('That did not work: %s').format(shape.text(error.message)), 'danger');
				});
			}) ])
		]);
	},

	notes(notes) {
		return notes.length ? [ E('ul', { 'class': 'tsg-notes' }, notes.slice(0, 20).map(note => E('li', {}, [ parts.foreign(note) ]))) ] : [];
	},

	/* The rest of `config tsg` that has to do with the wire. */
	form() {
		const map = new form.Map('tsg', null, null);
		const section = map.section(form.NamedSection, 'main', 'tsg', _('The plant network'));
		const option = section.option(form.Value, 'path_mtu', _('Largest packet'),
			_('The largest IP packet in bytes that the plant network carries. Empty: as much as the port to it. Smaller only if something on the way takes less.'));
		option.datatype = 'range(576,9216)';
		option.placeholder = _('as much as the port');

		return map;
	},

	checked(answer) {
		const found = shape.object(answer.value);
		const checks = shape.list(found.checks).map(shape.object);
		const order = [ 'problem', 'warning', 'ok' ];
		const place = check => order.includes(check.grade) ? order.indexOf(check.grade) : 0;
		const count = grade => checks.filter(check => check.grade == grade).length;

		parts.show(this.checks, [ parts.section('tsg-preflight', _('Can this box do its work?'), null, answer.fault ? [ parts.missing(answer) ] : [
			E('p', { 'class': 'alert-message ' + (count('problem') ? 'danger' : count('ok') < checks.length ? 'warning' : 'success') }, [
				_('Problems: %d, warnings: %d').format(count('problem'), count('warning'))
			]),
			parts.table([ _('How it looks'), _('What was looked at'), _('What was found, and what to do') ],
				checks.slice().sort((one, other) => place(one) - place(other)).map(check => [
					E('span', { 'class': 'tsg-grade', 'data-grade': shape.text(check.grade, 20) }, [
						shape.among(SIGNS, check.grade) || '?', ' ', shape.among(GRADES, check.grade) || parts.foreign(check.grade, 20)
					]), parts.foreign(check.what, 60), parts.foreign(check.text, 1000)
				]), _('Nothing was looked at.')),
			parts.asker(_('Look again'), 'neutral', () => gateway.preflight().then(fresh => this.checked(fresh)))
		]) ]);
	},

	handleSave(...args) {
		this.offloads.stage();

		return this.super('handleSave', args);
	},

	handleReset(...args) {
		this.offloads.reset();

		return this.super('handleReset', args);
	}
});
