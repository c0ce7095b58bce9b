/* Boxes in the states that operators meet; and one of which every name and text was made by an enemy. */

const FINGERPRINT = '3f07-a1c2-99de-0b54-7e21-c8d0-4412-5a9b';

const offload = (on, fixed = false) => ({ on: on, fixed: fixed, wanted: null });
const port = (name, role, more = {}) => ({
	name: name, section: role == 'none' ? null : 'bridge', role: role, link: true, mtu: 1500, mac: '02:00:00:00:00:0' + [ '', 'lan1', 'lan2', 'wan' ].indexOf(name),
	switch: null, bridge: role == 'none' ? null : 'br-lan',
	offloads: { gro: offload(true), lro: offload(false, true), tso: offload(true), gso: offload(true), rx_gro_list: offload(true), rx_udp_gro_forwarding: offload(false) }, ...more
});

const many = (count, make) => Array.from({ length: count }, (none, at) => make(at));

const rule = (name, action, more = {}) => ({ name: name, action: action, proto: [], src: [], dest: [], src_port: [], dest_port: [], ...more });

const status = {
	state: 'sealing', connected: true, enabled: true, name: 'press7', group: 'line1', fingerprint: FINGERPRINT, version: '0.5.0',
	servers: [ 'tcp://192.0.2.10:5555' ], since_server_s: 4, next_rekey_s: 31200, uptime_s: 183000, attach_wanted: 'auto', bypass: null,
	epoch: 17, epochs: [ { id: 17, stage: 'sealing', cipher: 'chacha20-poly1305', senders: [ 4 ], ends_in_s: 31200, time_known: true } ],
	policy: 5, policies: [ { version: 5, stage: 'active', mode: 'enforce', fail: 'closed', rules: 3 } ], mode: 'enforce', fail: 'closed',
	time_error_ms: 3, bridges: [ { device: 'br-lan', lan: [ 'lan1' ], wan: 'wan', attach: 'ingress', why: '' } ],
	machines: [ '192.0.2.50' ], machines_of_others: 2, counters: {}, alarms: []
};

const counters = {
	sealed: 1840233, opened: 1839911, bypassed: 40211, in_clear: 0, in_series: 0, unreached: 0, fragmented: 12, senders_known: 3,
	attach_frames: 3720355, attach_queue_full: 0, drop_in_clear: 14, drop_replayed: 3, drop_no_key: 0, drop_policy: 0
};

const base = {
	answers: {
		status: status,
		counters: counters,
		peers: { mine: [ '192.0.2.50' ], others: [ '192.0.2.60', '192.0.2.61' ], others_more: 0, unreached: [], senders_known: 3 },
		policy: {
			versions: [ {
				version: 5, stage: 'active', mode: 'enforce', fail: 'closed', non_ip: 'pass', default_action: 'bypass', rules: [
					rule('modbus', 'encrypt', { proto: [ 'tcp' ], dest_port: [ '502' ] }),
					rule('s7', 'encrypt', { proto: [ 'tcp' ], dest: [ '192.0.2.0/24', '2001:db8::/64' ], dest_port: [ '102' ] }),
					rule('no telnet', 'drop', { proto: [ 'tcp' ], dest_port: [ '23' ] })
				]
			} ],
			local: []
		},
		flows: { flows: [] },
		preflight: {
			problems: 0, warnings: 0, checks: [
				{ grade: 'ok', what: 'configuration', text: '/etc/config/tsg can be used' },
				{ grade: 'ok', what: 'bridge', text: 'br-lan has lan1 and wan' },
				{ grade: 'ok', what: 'attach', text: 'ingress works here' }
			]
		},
		ports: { ports: [ port('lan1', 'lan', { switch: '0' }), port('lan2', 'none', { link: false, switch: '0' }), port('wan', 'wan') ] },
		setup: {
			ok: true, notes: [ 'lan2 leaves the bridge' ], changes: [
				[ 'set', 'network', 'br_tsg', 'device' ], [ 'set', 'network', 'br_tsg', 'name', 'br-tsg' ], [ 'set', 'network', 'br_tsg', 'type', 'bridge' ],
				[ 'add_list', 'network', 'br_tsg', 'ports', 'lan1' ], [ 'add_list', 'network', 'br_tsg', 'ports', 'wan' ],
				[ 'set', 'network', 'lan', 'device', 'br-tsg' ], [ 'delete', 'network', 'wan' ], [ 'del_list', 'tsg', 'bridge', 'lan', 'lan2' ],
				[ 'set', 'tsg', 'bridge', 'wan', 'wan' ]
			]
		},
		reconnect: { ok: true },
		enrol: { ok: true },
		bypass: { ok: true }
	},
	leds: { 'green:status': { active_trigger: 'none', brightness: 0 }, 'amber:wan': { active_trigger: 'netdev', brightness: 255 } },
	log: [
		{ msg: 'tsg[812]: the key server lets this gateway in: group line1', id: 1, priority: 30, source: 1, time: 1790000000000 },
		{ msg: 'dnsmasq[700]: started', id: 2, priority: 30, source: 1, time: 1790000001000 },
		{ msg: 'tsg[812]: epoch 17: sealing', id: 3, priority: 31, source: 1, time: 1790000002000 },
		{ msg: 'tsg[812]: the key server does not answer', id: 4, priority: 28, source: 1, time: 1790000003000 },
		{ msg: 'tsg[812]: lan1 is gone', id: 5, priority: 27, source: 1, time: 1790000004000 }
	],
	uci: {
		tsg: {
			main: { '.type': 'tsg', '.name': 'main', '.anonymous': false, '.index': 0, enabled: '1', server: [ 'tcp://192.0.2.10:5555' ], server_key: 'x'.repeat(43) + '=',
				attach: 'auto', oversize: 'icmp', cache_keys: '0', log_level: 'info', fail: 'closed' },
			bridge: { '.type': 'bridge', '.name': 'bridge', '.anonymous': false, '.index': 1, lan: [ 'lan1', 'lan2' ], wan: 'wan' }
		},
		network: {
			lan: { '.type': 'interface', '.name': 'lan', '.anonymous': false, '.index': 0, device: 'br-lan', proto: 'static' },
			wan: { '.type': 'interface', '.name': 'wan', '.anonymous': false, '.index': 1, device: 'wan', proto: 'dhcp' },
			cfg030f15: { '.type': 'device', '.name': 'cfg030f15', '.anonymous': true, '.index': 2, name: 'br-lan', type: 'bridge', ports: [ 'lan1', 'lan2' ] }
		}
	}
};

/* The base with some of its answers changed in part. */
function but(changes = {}, rest = {}) {
	const box = structuredClone(base);
	for (const [ method, part ] of Object.entries(changes))
		box.answers[method] = part === undefined ? undefined : { ...box.answers[method], ...part };

	return { ...box, ...rest };
}

const unset = { name: null, group: null, servers: [], since_server_s: null, next_rekey_s: null, epoch: 0, epochs: [], policy: 0, policies: [], mode: null, connected: false };

/* Markup, what turns the direction of reading, what ends lines, and length. */
const evil = [
	'<script>window.pwned=1</script>', '<img src=x onerror="window.pwned=2">', '\u202egnp.evil\u202c', '"><svg/onload=window.pwned=3>',
	'line\nbreak\u0000\u0007', '%s%d%h', '&lt;b&gt;', 'x'.repeat(10000)
];
const evilText = evil.join(' ');

const hostile = but({
	status: {
		name: evil[1], group: evil[2], servers: evil, version: evil[0], mode: evil[0], fail: evil[1], alarms: [ ...evil, { nested: evil[0] }, null, 7 ],
		bridges: [ { device: evil[0], lan: evil, wan: evil[1], attach: null, why: evil[3] }, null, 'text' ], epoch: 1e300, policy: '9'.repeat(40),
		since_server_s: -5, next_rekey_s: 1e308, uptime_s: 'soon', fingerprint: evil[1]
	},
	counters: { sealed: 1.8446744073709552e19, opened: -1, bypassed: '12', [evil[0]]: 5, __proto__x: 3, constructor: 4, drop_unknown_reason: 9e15, drop_replayed: null },
	peers: { mine: evil, others: new Array(5000).fill(evil[1]), unreached: 'none', senders_known: {} },
	policy: { versions: [ { version: evil[0], stage: 'constructor', mode: '__proto__', fail: evil[1], rules: [ rule(evil[0], evil[1], { proto: evil, src: evilText }), null, 3 ] } ], local: evil },
	flows: { flows: [ { src: evil[0], dest: evil[1], proto: evil[2], dest_port: evil[3], packets: 1e19, rule: evilText, would: evil[0] }, null ] },
	preflight: { problems: evil[0], checks: [ { grade: evil[0], what: evil[1], text: evilText }, { grade: 'constructor' }, null ] },
	ports: { ports: [ port('<img src=x onerror="window.pwned=4">', evil[0], { mac: evil[3], bridge: evil[0], switch: evil[1], mtu: 1e300, link: 'yes', offloads: evil[0] }), null, 'text' ] },
	setup: { ok: false, error: evilText }, enrol: { ok: false, error: evilText }, bypass: { ok: false, error: evilText }, reconnect: { ok: false, error: evilText }
});
hostile.leds = Object.fromEntries(evil.map(name => [ name, evil ]));
hostile.uci.tsg.main.led = evil[1];
hostile.log = [ ...evil.map((text, at) => ({ msg: `tsg[1]: ${text}`, id: at, priority: 8 * at + at, time: 1e300 })), null, { msg: 7 }, { msg: 'tsg: ', priority: 'x', time: 'y' } ];

/* An interface with `proto tsg`, and what netifd says of it. */
function tunnel(options, status) {
	const box = structuredClone(base);
	box.uci.network.vpn0 = { '.type': 'interface', '.name': 'vpn0', '.anonymous': false, '.index': 3, proto: 'tsg', ...options };
	box.interfaces = [ { interface: 'vpn0', proto: 'tsg', ...status } ];

	return box;
}

export const scenarios = {
	sealing: but(),
	fresh: but({ status: { ...unset, state: 'idle', enabled: true, bridges: [] }, peers: { mine: [], others: [], senders_known: 0 }, policy: { versions: [] } }),
	off: but({ status: { state: 'idle', enabled: false, bridges: [] } }),
	pending: but({ status: { ...unset, name: status.name, servers: status.servers, state: 'pending', since_server_s: 2, alarms: [ 'an operator has to approve this gateway', 'no key: what the rules match is stopped' ] } }),
	no_server: but({ status: { connected: false, since_server_s: 7300, alarms: [ 'the key server does not answer for 7300 s; the keys at hand serve until they end' ] } }),
	no_key: but({ status: { state: 'no key', fail: 'open', epoch: 0, alarms: [ 'no key: what the rules match goes IN CLEAR, as `fail open` says' ] } }),
	revoked: but({ status: { state: 'revoked', connected: false, alarms: [ 'thrown out of the group: stolen' ] } }),
	migrate: but({
		status: { mode: 'migrate' },
		policy: { versions: [ { ...base.answers.policy.versions[0], mode: 'migrate' } ] },
		flows: { mode: 'migrate', flows: [ { src: '192.0.2.50', dest: '192.0.2.77', proto: 'tcp', dest_port: 502, packets: 4211, last_s: 3, rule: 'modbus', would: 'drop' },
			{ src: '192.0.2.50', dest: '192.0.2.78', proto: 'udp', dest_port: null, packets: 9, last_s: 60, rule: null, would: 'seal' } ] }
	}),
	alarms: but({
		status: { alarms: [ 'no gateway is known in front of 192.0.2.77: what is sealed for a machine without a gateway does not reach it', 'br-lan: a port is missing', 'something quite new' ] },
		peers: { unreached: [ '192.0.2.77' ] }
	}),
	unported: but({ status: { bridges: [] } }),
	led: but({}, { denied: [ 'luci.getLEDs' ] }),
	managed: but(),
	throughput: but({ counters: { sealed_bytes: 1.1e12, opened_bytes: 1.2e12 } }),
	plant: but({
		peers: {
			mine: [ '192.0.2.50', '192.0.2.51', '192.0.2.52' ], others: many(630, at => at < 250 ? `203.0.113.${at}` : `198.51.${at % 4 + 100}.${at >> 2}`), others_more: 1000,
			unreached: [ '192.0.2.77', '192.0.2.78' ]
		},
		policy: { versions: [ {
			version: 6, stage: 'active', mode: 'enforce', fail: 'closed', non_ip: 'pass', default_action: 'bypass',
			rules: [ rule('cells', 'encrypt', { proto: [ 'tcp' ], dest: many(60, at => `192.0.2.${at}`), dest_port: [ '502' ] }) ]
		} ] },
		flows: { flows: many(900, at => ({
			src: '192.0.2.50', dest: `203.0.113.${at % 250}`, proto: 'tcp', dest_port: 1000 + at, packets: 10000 - at, last_s: 3,
			rule: at % 3 ? null : 'modbus', would: at % 3 == 1 ? 'seal' : 'drop'
		})) }
	}),
	routed: but({ status: { bridges: [], routed: true } }),
	detached: but({ status: { bridges: [ { device: 'br-lan', lan: [ 'lan1' ], wan: 'wan', attach: null, why: 'no kernel module' } ] } }),
	bypass: but({ status: { bypass: { ends_in_s: 754 }, alarms: [ 'timed bypass: what the rules seal goes IN CLEAR until it ends; `tsg bypass off` ends it' ] } }),
	preflight: but({
		preflight: {
			problems: 1, warnings: 1, checks: [
				{ grade: 'ok', what: 'configuration', text: '/etc/config/tsg can be used' },
				{ grade: 'warning', what: 'offloads', text: 'lan1: rx-gro-list is on; switch it off if packets are lost' },
				{ grade: 'problem', what: 'flow offloading', text: 'flow offloading is on: established connections cross past the gateway. `uci set firewall.@defaults[0].flow_offloading=0`' }
			]
		}
	}),
	wished: but({ ports: { ports: [ port('lan1', 'lan', { offloads: { gro: offload(false), gso: offload(true), tso: { ...offload(false), wanted: false } } }) ] } }),
	older: but({}, { missing: [ 'counters', 'peers', 'policy', 'flows', 'preflight', 'ports', 'setup', 'enrol', 'reconnect', 'bypass' ] }),
	gone: but({}, { gone: true }),
	unwanted: but({}, { gone: true }),
	hangs: but({}, { hangs: true }),
	huge: but({ counters: { sealed: 2 ** 64, opened: 9.9e15, bypassed: 1e13, drop_in_clear: 123456789012 }, status: { epoch: 4294967295, uptime_s: 1e9, next_rekey_s: 1e12 } }),
	hostile: hostile,
	tunnel: tunnel({ peer: '192.0.2.2', addresses: [ '10.9.0.1/24' ] }, { up: true, l3_device: 'vpn0' }),
	no_tunnel: tunnel({}, { up: false, errors: [ { subsystem: 'tsg', code: 'TSG_KEY_FILE', data: [] }, { subsystem: 'tsg', code: evil[1], data: evil } ] }),
	hostile_tunnel: tunnel({ peer: evil[1], addresses: evil, routes: evil, key_file: evil[0], mtu: evil[3], tunlink: evil[0] }, { up: true, l3_device: evil[1] })
};
scenarios.wished.uci.tsg.port_lan1 = { '.type': 'port', '.name': 'port_lan1', '.anonymous': false, '.index': 2, device: 'lan1', gro: '0' };
scenarios.unwanted.uci.tsg.main.enabled = '0';
scenarios.led.uci.tsg.main.led = 'blue:seal';
Object.assign(scenarios.managed.uci.tsg.bridge, { standalone: '1', box: 'box1' });
Object.assign(scenarios.managed.uci.network, {
	tsg_box: { '.type': 'device', '.name': 'tsg_box', '.anonymous': false, '.index': 3, name: 'box0', type: 'veth', peer_name: 'box1' },
	lan: { ...scenarios.managed.uci.network.lan, device: 'box0.20' }
});
delete scenarios.fresh.uci.tsg.main.server;
delete scenarios.fresh.uci.tsg.main.server_key;
delete scenarios.older.answers.status.bypass;
scenarios.older.answers.status.counters = counters;
