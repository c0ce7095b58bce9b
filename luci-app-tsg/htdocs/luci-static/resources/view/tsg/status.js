'use strict';
'require view';
'require poll';
'require ui';
'require tsg.alarms as alarms';
'require tsg.chart as chart';
'require tsg.counters as counters';
'require tsg.gateway as gateway';
'require tsg.parts as parts';
'require tsg.shape as shape';
'require tsg.verdict as verdict';

/* Sealed or not, and what to do about it. */

const INTERVAL = 3;
const SIGNS = { good: '\u2713', care: '\u2713', bad: '\u2717', off: '\u25cb' };
const MOST_ALARMS = 50;
const WAYS = [
	{ key: 'sealed', label: _('sealed'), look: 'tsg-blue' },
	{ key: 'opened', label: _('opened'), look: 'tsg-green' }
];
/* Most of what crosses unprotected is none of the gateway's business, and not counted. */
const CLEAR = { key: 'clear', label: _('unprotected'), look: 'tsg-grey' };

function listed(values) {
	return values.length ? values.map((value, at) => E('span', {}, [ at ? ', ' : '', parts.foreign(value, 80) ])) : [ '\u2013' ];
}

return view.extend({
	load() {
		parts.style();

		return this.ask();
	},

	/* Older daemons count in `status` alone. */
	ask() {
		return Promise.all([ gateway.status(), gateway.counters(), gateway.peers() ]);
	},

	render(answers) {
		this.nodes = {};
		for (const name of [ 'banner', 'alarms', 'facts', 'bypass', 'counters' ])
			this.nodes[name] = E('div', { 'id': 'tsg-' + name });
		this.nodes.banner.setAttribute('role', 'status');
		this.throughput = chart.create('tsg-throughput', _('Throughput'), 'bits', WAYS.map(way => ({ ...way, key: way.key + '_bits' })), INTERVAL);
		this.traffic = chart.create('tsg-traffic', _('Traffic'), 'packets', [ ...WAYS, CLEAR ], INTERVAL);
		this.drops = chart.create('tsg-drops', _('Dropped'), 'packets', [
			{ key: 'dropped', label: _('dropped'), look: 'tsg-red' }
		], INTERVAL);
		this.charts = parts.section('tsg-charts', _('Live'), null, [
			E('div', { 'class': 'tsg-charts' }, [ this.throughput.node, this.traffic.node, this.drops.node ])
		]);

		this.update(answers);
		poll.add(() => this.ask().then(fresh => this.update(fresh)), INTERVAL);

		return E('div', { 'id': 'tsg-status' }, [
			E('h2', {}, [ _('Secure Gateway') ]),
			this.nodes.banner, this.nodes.alarms, this.charts, this.nodes.facts, this.nodes.bypass, this.nodes.counters
		]);
	},

	update([ status, counted, peers ]) {
		const known = !status.fault;
		const state = shape.object(status.value);

		parts.show(this.nodes.banner, [ this.banner(known ? verdict.of(state) : verdict.without(status.fault), status.fault) ]);
		parts.show(this.nodes.alarms, known ? this.alarms(shape.list(state.alarms)) : []);
		parts.show(this.nodes.facts, known ? [ this.facts(state, peers) ] : []);
		this.bypass(known ? state : null);

		const totals = counted.fault ? shape.object(state.counters) : counted.value;
		this.charts.hidden = !known;
		if (known)
			this.draw(totals);
		this.table(known ? totals : null);
	},

	banner(said, fault) {
		return E('div', { 'class': 'tsg-banner tsg-' + said.level, 'data-level': said.level }, [
			E('div', { 'class': 'tsg-word', 'data-sign': SIGNS[said.level] }, [ said.word ]),
			E('p', { 'class': 'tsg-why' }, [ said.why ]),
			said.todo ? E('p', { 'class': 'tsg-todo' }, [ E('strong', {}, [ _('What to do:') ]), ' ', said.todo ]) : '',
			fault == 'gone' || fault == 'silent' ? parts.starter(fault == 'silent') : ''
		]);
	},

	alarms(texts) {
		if (!texts.length)
			return [];

		const title = texts.length == 1 ? _('One alarm') : _('%d alarms').format(texts.length);

		return [ parts.section('tsg-alarm-list', title, null, texts.slice(0, MOST_ALARMS).map(alarms.box)) ];
	},

	facts(state, peers) {
		const answered = shape.number(state.since_server_s);
		const epoch = shape.number(state.epoch);
		const bridges = shape.list(state.bridges).map(shape.object);
		const heard = shape.object(peers.value);

		return parts.section('tsg-fact-list', _('At a glance'), null, [ parts.facts([
			[ _('This gateway'), [ parts.foreign(state.name || '\u2013') ], 'name' ],
			[ _('Group'), [ parts.foreign(state.group || '\u2013') ], 'group' ],
			[ _('Key server'), listed(shape.list(state.servers)), 'servers' ],
			[ _('Last answer of the key server'), [
				answered == null ? _('none yet') : _('%s ago').format(shape.duration(answered)), ' ',
				parts.button(_('Connect anew'), 'neutral', () => gateway.reconnect().then(answer => {
					if (parts.happened(answer))
						parts.tell(_('The gateway connects to the key server anew.'), 'info');
				}))
			], 'answered' ],
			[ _('Key in use'), [ epoch ? _('number %s').format(shape.count(epoch)) : _('none yet') ], 'epoch' ],
			[ _('Next change of keys'), [
				shape.number(state.next_rekey_s) == null ? _('not known') : _('in %s').format(shape.duration(state.next_rekey_s))
			], 'rekey' ],
			[ _('Policy in force'), [
				shape.number(state.policy) ? _('version %s').format(shape.count(state.policy)) : _('none yet'),
				state.mode ? ' (' + shape.text(state.mode, 40) + ')' : ''
			], 'policy' ],
			[ _('Without a key'), [ state.fail == 'open' ? _('passes UNPROTECTED (fail open)') : _('is stopped (fail closed)') ], 'fail' ],
			peers.fault ? null : [ _('Other gateways heard'), [ shape.count(heard.senders_known) ], 'senders' ],
			peers.fault ? null : [ _('Machines'), [
				_('%d here, %d behind other gateways, %d behind none').format(
					shape.list(heard.mine).length, shape.list(heard.others).length + (shape.number(heard.others_more) || 0), shape.list(heard.unreached).length)
			], 'machines' ],
			[ _('Ports'), bridges.length ? bridges.map(bridge => E('div', {}, [
				_('machines:'), ' ', ...listed(shape.list(bridge.lan)), ' \u2194 ', _('plant network:'), ' ', parts.foreign(bridge.wan, 40),
				' (', parts.foreign(bridge.attach || bridge.why || _('not connected'), 120), ')'
			])) : [ _('none yet') ], 'ports' ],
			[ _('Running for'), [ shape.duration(state.uptime_s) ], 'uptime' ],
			[ _('Version'), [ parts.foreign(state.version, 40) ], 'version' ]
		]) ]);
	},

	/* The choice of minutes stays as it is while the rest is drawn anew. */
	bypass(state) {
		const node = this.nodes.bypass;
		if (!state || !('bypass' in state)) {
			parts.show(node, []);
			return;
		}

		if (state.bypass != null) {
			parts.show(node, [ parts.section('tsg-bypass-panel', _('Bypass'), null, [
				E('div', { 'class': 'alert-message danger', 'role': 'alert' }, [
					E('strong', {}, [ _('Protection is OFF for another %s.').format(shape.clock(shape.object(state.bypass).ends_in_s)) ])
				]),
				parts.button(_('End the bypass now'), 'positive', () => this.switch(0))
			]) ]);
			return;
		}
		if (node.querySelector('#tsg-minutes'))
			return;

		const minutes = E('select', { 'id': 'tsg-minutes', 'class': 'cbi-input-select', 'disabled': parts.readonly() ? true : null },
			[ 5, 15, 30, 60, 240 ].map(count => E('option', { 'value': count, 'selected': count == 15 ? true : null }, [ _('%d minutes').format(count) ])));
		parts.show(node, [ parts.section('tsg-bypass-panel', _('Bypass'),
			_('For emergencies: lets what should be sealed cross unprotected for a while, for example to find out whether the gateway is in the way of something. It has to be done on the gateways at both ends, and ends by itself.'), [
				E('div', { 'class': 'tsg-row' }, [
					E('label', { 'for': 'tsg-minutes' }, [ _('Switch protection off for') ]), minutes,
					parts.button(_('Bypass now'), 'negative', () => this.confirm(+minutes.value))
				])
			]) ]);
	},

	confirm(minutes) {
		const sure = parts.button(_('Switch protection off'), 'negative', () => {
			ui.hideModal();

			return this.switch(minutes * 60);
		});
		ui.showModal(_('Switch protection off?'), [
			E('p', {}, [ _('For %d minutes what should be sealed crosses this gateway UNPROTECTED. Whoever listens on the plant network can read it and change it. The key server is told.').format(minutes) ]),
			E('div', { 'class': 'right' }, [
				E('button', { 'class': 'btn cbi-button', 'type': 'button', 'click': ui.hideModal }, [ _('Cancel') ]), ' ', sure
			])
		]);
		sure.focus();
	},

	switch(seconds) {
		return gateway.bypass(seconds)
			.then(answer => parts.happened(answer) && this.ask().then(fresh => this.update(fresh)));
	},

	draw(totals) {
		const of = name => shape.number(totals[name]) || 0;
		const now = performance.now() / 1000;

		/* What is not counted must not look as if it did not cross. */
		this.throughput.node.hidden = !counters.BYTES.every(name => shape.number(totals[name]) != null);
		this.throughput.add([ of('sealed_bytes'), of('opened_bytes') ], now);
		this.traffic.add([ of('sealed'), of('opened'), of('bypassed') + of('in_clear') ], now);
		this.drops.add([ counters.drops(totals) ], now);
	},

	table(totals) {
		if (!totals) {
			parts.show(this.nodes.counters, []);
			return;
		}

		const rows = list => list.map(row => [
			E('strong', { 'data-counter': row.name }, [ row.title ]),
			E('span', { 'class': 'tsg-number' }, [ shape.count(row.value) ]),
			row.text || E('em', {}, [ _('not known to this version of the page') ])
		]);
		const heads = [ _('What'), _('Packets'), _('What that means') ];
		const dropped = counters.dropped(totals), passed = counters.passed(totals);
		const idle = dropped.concat(passed).filter(row => row.value == 0);

		parts.show(this.nodes.counters, [
			parts.section('tsg-dropped-list', _('Dropped, by reason'), _('A handful after a start or a change of keys is no fault. What grows steadily is.'), [
				parts.table(heads, rows(dropped.filter(row => row.value > 0)), _('Nothing was dropped since the gateway started.'))
			]),
			parts.section('tsg-passed-list', _('What else was counted'), null, [
				parts.table(heads, rows(passed.filter(row => row.value > 0)), _('Nothing yet.')),
				E('details', {}, [
					E('summary', {}, [ _('What stands at zero (%d)').format(idle.length) ]),
					parts.table(heads, rows(idle), _('Nothing.'))
				])
			])
		]);
	},

	handleSaveApply: null,
	handleSave: null,
	handleReset: null
});
