'use strict';
'require view';
'require dom';
'require poll';
'require tsg.gateway as gateway';
'require tsg.list as list';
'require tsg.parts as parts';
'require tsg.shape as shape';

/* What is sealed, what passes, and who was heard. */

const INTERVAL = 10;
/* So many of a rule's values are seen at once. */
const FEW = 20;
const ACTIONS = { encrypt: _('sealed'), bypass: _('unprotected'), drop: _('dropped') };
const MODES = {
	'learn': _('learn: nothing is sealed, the gateway watches who talks to whom'),
	'receive-only': _('receive only: nothing is sealed, sealed packets are opened'),
	'migrate': _('migrate: sealed between machines with a gateway, unprotected to the others'),
	'enforce': _('enforce: sealed, and let in only sealed')
};
const WOULD = { drop: _('would be dropped'), seal: _('would be sealed, and nobody there can open it') };
const DOES = { drop: _('dropped'), seal: _('sealed, and nobody there can open it') };
const PLACES = { unreached: _('behind no known gateway'), mine: _('behind this gateway'), others: _('behind other gateways') };
const NON_IP = { pass: _('passes'), drop: _('is dropped') };
const STAGES = { active: _('in force'), prepared: _('prepared'), retiring: _('being replaced') };

function known(table, value) {
	return shape.among(table, value) || parts.foreign(value, 40);
}

/* One value, a list, or nothing, which means any. */
function several(value) {
	const values = (Array.isArray(value) ? value : [ value ]).filter(one => one != null && one !== '');
	const row = some => some.map((one, at) => E('span', {}, [ at ? ', ' : '', parts.foreign(one, 80) ]));
	if (!values.length)
		return _('any');

	return E('div', {}, row(values.slice(0, FEW)).concat(values.length > FEW ? [ E('details', {}, [
		E('summary', {}, [ _('and %s more').format(shape.count(values.length - FEW)) ]), ...row(values.slice(FEW))
	]) ] : []));
}

/* Rules of later versions may use fw4's words for addresses. */
function rows(rules) {
	return shape.list(rules).map(shape.object).map((rule, at) => [
		String(at + 1), parts.foreign(rule.name || '\u2013', 120), E('strong', {}, [ known(ACTIONS, rule.action) ]), several(rule.proto),
		several(rule.src != null ? rule.src : rule.src_ip), several(rule.src_port),
		several(rule.dest != null ? rule.dest : rule.dest_ip), several(rule.dest_port)
	]);
}

const HEADS = [ _('No.'), _('Rule'), _('What happens'), _('Protocol'), _('From address'), _('From port'), _('To address'), _('To port') ];

return view.extend({
	load() {
		parts.style();

		return this.ask();
	},

	ask() {
		return Promise.all([ gateway.policy(), gateway.peers() ]);
	},

	render(answers) {
		this.rules = E('div', { 'id': 'tsg-rules' });
		this.heard = E('div', { 'id': 'tsg-heard-facts' });
		this.machines = list.create('tsg-machines', [ _('Address'), _('Where') ], PLACES, _('None heard yet.'));
		this.would = E('div', { 'id': 'tsg-flows', 'aria-live': 'polite' });
		this.talks = list.create('tsg-talks', [ _('From'), _('To'), _('Protocol'), _('Port of the service'), _('Packets'), _('Last seen'), _('Rule'), _('With \u201cenforce\u201d') ], WOULD,
			_('Nothing: nobody was heard talking unprotected that a rule wants sealed. Wait until every machine has done all that it ever does before you rely on it.'));
		this.update(answers);
		poll.add(() => this.ask().then(fresh => this.update(fresh)), INTERVAL);

		return E('div', { 'id': 'tsg-policy' }, [
			E('h2', {}, [ _('Policy and machines') ]),
			E('div', { 'class': 'cbi-map-descr' }, [ _('The key server says what is sealed; this page shows what is in force here. The first rule that fits counts, for a packet and for its answer; if two differ, the stricter one.') ]),
			this.rules,
			parts.section('tsg-heard', _('Machines'), _('What the gateway learned from what crosses it, and from the key server.'), [ this.heard, this.machines.node ]),
			parts.section('tsg-would', _('What would \u201cenforce\u201d stop?'),
				_('Before a group leaves \u201cmigrate\u201d: who still talks unprotected although a rule wants it sealed, and would be cut off.'), [
					parts.asker(_('Look now'), 'action', () => gateway.flows().then(answer => this.flows(answer))), this.would
				]),
			parts.section('tsg-always', _('What always passes'), null, [
				E('p', {}, [ _('What a network needs to work at all: ARP, IPv6 neighbour discovery, DHCP, IGMP and MLD, EAPOL, LLDP and spanning tree as far as the bridge forwards them, and the gateway\u2019s own connection to the key server.') ]),
				E('p', {}, [ _('What is not IP (PROFINET RT, GOOSE, PPPoE) is never sealed: it passes or is stopped, as the group says.') ])
			])
		]);
	},

	update([ policy, peers ]) {
		parts.show(this.rules, policy.fault ? [ parts.section('tsg-rule-list', _('Rules of the key server'), null, [ parts.missing(policy) ]) ] : this.policies(policy.value));
		this.learned(peers);
	},

	policies(policy) {
		const versions = shape.list(policy.versions).map(shape.object);
		const sections = versions.map((version, at) => parts.section('tsg-version-' + at,
			_('Rules of the key server, version %s').format(shape.count(version.version)), null, [
				parts.facts([
					[ _('Stage'), [ known(STAGES, version.stage) ] ],
					[ _('Mode'), [ known(MODES, version.mode) ] ],
					[ _('Without a key'), [ version.fail == 'open' ? _('passes UNPROTECTED (fail open)') : _('is stopped (fail closed)') ] ],
					[ _('What is not IP'), [ version.non_ip == null ? '\u2013' : shape.among(NON_IP, version.non_ip) || several(version.non_ip) ] ],
					[ _('What no rule fits'), [ version.default_action == null ? '\u2013' : known(ACTIONS, version.default_action) ] ]
				]),
				parts.table(HEADS, rows(version.rules), _('There is no rule: nothing is sealed.'))
			]));

		if (!sections.length)
			sections.push(parts.section('tsg-rule-list', _('Rules of the key server'), null, [
				E('p', { 'class': 'tsg-none' }, [ _('None yet: the key server sends them once it has let this gateway in.') ])
			]));

		return sections.concat(parts.section('tsg-local', _('Local rules'), _('They are set on the page Settings.'), [
			parts.table(HEADS, rows(policy.local), _('There are none.'))
		]));
	},

	learned(peers) {
		const value = shape.object(peers.value);
		const more = shape.number(value.others_more) || 0;
		const count = (place, unnamed) => [ shape.count(shape.list(value[place]).length + unnamed) ];

		this.machines.node.hidden = peers.fault != null;
		parts.show(this.heard, peers.fault ? [ parts.missing(peers) ] : [
			parts.facts([
				[ _('Behind this gateway'), count('mine', 0), 'mine' ],
				[ _('Behind other gateways'), count('others', more).concat(more ? [ ' ', _('(%s of them are not in the list)').format(shape.count(more)) ] : []), 'others' ],
				[ _('Behind no known gateway'), count('unreached', 0), 'unreached' ],
				[ _('Other gateways heard'), [ shape.count(value.senders_known) ], 'senders' ]
			])
		]);
		this.machines.update(Object.keys(PLACES).flatMap(place => shape.list(value[place]).map(address => ({
			kind: place, words: shape.text(address, 80), cells: () => [ parts.foreign(address, 80), PLACES[place] ]
		}))));
	},

	flows(answer) {
		const value = shape.object(answer.value);
		const flows = shape.list(value.flows).map(shape.object);
		const becomes = value.mode == 'enforce' ? DOES : WOULD;
		const ago = seconds => shape.number(seconds) == null ? '\u2013' : _('%s ago').format(shape.duration(seconds));

		/* The list is made once: who reads on keeps the page. */
		if (answer.fault || !this.talks.node.isConnected)
			dom.content(this.would, answer.fault ? [ parts.missing(answer) ] : [ this.talks.node ]);
		this.talks.name(becomes);
		this.talks.update(flows.map(flow => ({
			kind: flow.would, words: [ flow.src, flow.dest, flow.proto, flow.dest_port, flow.rule ].map(word => shape.text(word, 120)).join(' '),
			cells: () => [
				parts.foreign(flow.src, 80), parts.foreign(flow.dest, 80), several(flow.proto), several(flow.dest_port),
				E('span', { 'class': 'tsg-number' }, [ shape.count(flow.packets) ]), ago(flow.last_s), parts.foreign(flow.rule || '\u2013', 120),
				E('strong', {}, [ known(becomes, flow.would) ])
			]
		})));
	},

	handleSaveApply: null,
	handleSave: null,
	handleReset: null
});
