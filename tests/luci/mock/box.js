/*
 * A box as LuCI's pages see it over ubus: the daemon's object `tsg`, the log, the init script, and the configuration.
 * What stands in it comes from a scenario; what pages do, beside reading, is kept in `calls`.
 */

export const OK = 0, METHOD_NOT_FOUND = 3, NOT_FOUND = 4, TIMEOUT = 7;

/* What pages ask by themselves again and again. */
const READS = [ 'tsg.status', 'tsg.counters', 'tsg.peers', 'tsg.policy', 'log.read', 'luci.getLEDs', 'network.interface.dump', 'uci.get', 'uci.changes' ];

export class Box {
	constructor(scenario) {
		Object.assign(this, structuredClone({ gone: false, missing: [], denied: [], answers: {}, log: [], interfaces: [], leds: {}, uci: {}, ...scenario }));
		this.calls = [];
		this.polls = 0;
		this.changes = {};
		this.applied = null;
		this.confirmed = 0;
	}

	/* Whose answers these are; the rest is the real box's, where there is one. */
	answers_for(object, method, args) {
		return object == 'tsg' || object == 'luci' && method == 'getLEDs' || object == 'log' || object == 'file' && args.command == '/etc/init.d/tsg' ||
			object == 'uci' && (args.config == null ? Object.keys(this.uci).length > 0 : args.config in this.uci);
	}

	/* A whole JSON-RPC answer. */
	rpc(request) {
		const [ , object, method, args ] = request.params;
		const answer = this.call(object, method, args ?? {});

		return { jsonrpc: '2.0', id: request.id, ...Array.isArray(answer) ? { result: answer } : { error: answer } };
	}

	call(object, method, args) {
		if (!READS.includes(`${object}.${method}`))
			this.calls.push([ object, method, args ]);
		if (this.denied.includes(`${object}.${method}`))
			return { code: -32002, message: 'Access denied' };
		switch (object) {
		case 'tsg':
			return this.daemon(method, args);
		case 'network.interface':
			return method == 'dump' ? [ OK, { interface: this.interfaces } ] : [ METHOD_NOT_FOUND ];
		case 'luci':
			return method == 'getLEDs' ? [ OK, this.leds ] : [ METHOD_NOT_FOUND ];
		case 'log':
			return [ OK, { log: this.log } ];
		case 'file':
			this.gone = this.hangs = false;

			return [ OK, { code: this.starts ?? 0, stdout: '', stderr: this.starts ? 'no such file' : '' } ];
		case 'uci':
			return this.configuration(method, args);
		default:
			return [ NOT_FOUND ];
		}
	}

	daemon(method, args) {
		if (this.gone)
			return { code: -32000, message: 'Object not found' };
		if (this.hangs)
			return [ TIMEOUT ];
		const answer = this.answers[method];
		if (answer === undefined || this.missing.includes(method))
			return [ METHOD_NOT_FOUND ];
		if (method == 'counters' && this.grow)
			this.count(answer);
		if (method == 'bypass' && answer.ok)
			this.answers.status.bypass = args.seconds > 0 ? { ends_in_s: args.seconds } : null;
		if (method == 'enrol' && answer.ok) {
			this.answers.status.state = 'searching';
			this.answers.status.enabled = true;
			Object.assign(this.uci.tsg.main, { server: [ 'tcp://192.0.2.99:5555' ], server_key: 'A'.repeat(43) + '=' });
		}

		return [ OK, answer ];
	}

	/* `grow`: for each counter what it gains in three seconds, in turn. A real LuCI asks a second time at once. */
	count(counters) {
		const now = performance.now(), past = (now - (this.counted ?? now)) / 3000;
		this.counted = now;
		this.polls += 1;
		for (const [ name, steps ] of Object.entries(this.grow))
			counters[name] += Math.round(steps[this.polls % steps.length] * past);
	}

	configuration(method, { config, section, option, type, name, values, options }) {
		const sections = this.uci[config];
		const note = (...change) => (this.changes[config] ??= []).push(change);
		switch (method) {
		case 'get':
			if (option)
				return sections?.[section]?.[option] === undefined ? [ NOT_FOUND ] : [ OK, { value: sections[section][option] } ];

			return sections ? [ OK, { values: structuredClone(sections) } ] : [ NOT_FOUND ];
		case 'changes':
			return [ OK, { changes: structuredClone(this.changes) } ];
		case 'add': {
			const made = name || `cfg${String(Object.keys(sections).length).padStart(2, '0')}f00d`;
			sections[made] = { '.type': type, '.name': made, '.anonymous': !name, '.index': Object.keys(sections).length, ...values };
			note('add', made, type);
			Object.entries(values ?? {}).forEach(([ option, value ]) => note('set', made, option, String(value)));

			return [ OK, { section: made } ];
		}
		case 'set':
			Object.assign(sections[section], values);
			Object.entries(values).forEach(([ option, value ]) => note('set', section, option, String(value)));

			return [ OK ];
		case 'delete':
			if (options)
				options.forEach(option => { delete sections[section][option]; note('remove', section, option); });
			else {
				delete sections[section];
				note('remove', section);
			}

			return [ OK ];
		case 'apply':
			this.applied = this.changes;
			this.changes = {};

			return [ OK ];
		case 'confirm':
			this.confirmed += 1;

			return [ OK ];
		default:
			return [ METHOD_NOT_FOUND ];
		}
	}
}
