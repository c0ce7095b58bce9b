'use strict';
'require baseclass';
'require rpc';
'require tsg.shape as shape';

/*
 * Calls to the gateway's daemon (ubus object `tsg`). A call never rejects: it resolves to { value } or to { fault },
 * a word that says why there is no answer:
 *   gone    the daemon is not running
 *   off     nor is it meant to: it is switched off in its settings
 *   older   it runs and has no such method
 *   denied  this login may not do that
 *   silent  it does not answer, or not in a way that is understood
 */

function faultOf(error) {
	const text = String(error && error.message || error);
	const found = text.match(/failed with (ubus code|error) (-?\d+)/);
	if (!found)
		return 'silent';

	switch (found[1] + ' ' + found[2]) {
	case 'error -32000':
	case 'ubus code 4':
		return 'gone';
	case 'error -32601':
	case 'ubus code 1':
	case 'ubus code 3':
		return 'older';
	case 'error -32002':
	case 'ubus code 6':
		return 'denied';
	default:
		return 'silent';
	}
}

function declare(object, method, params) {
	const call = rpc.declare({ object: object, method: method, params: params, reject: true });

	return (...args) => call(...args).then(value => {
		if (value != null && typeof(value) == 'object' && !Array.isArray(value))
			return { value: value };

		return { fault: 'silent' };
	}).catch(error => ({ fault: faultOf(error) }));
}

const option = declare('uci', 'get', [ 'config', 'section', 'option' ]);
const staged = declare('uci', 'changes');
const OFF = [ '0', 'off', 'false', 'no', 'disabled' ];

/* Is it switched off, as the box has it? uci.get has what waits to be applied, which is then the opposite. */
function isOff() {
	return Promise.all([ option('tsg', 'main', 'enabled'), staged() ]).then(([ enabled, waiting ]) => {
		const changes = shape.list(shape.object(shape.object(waiting.value).changes).tsg);
		const changed = changes.some(([ , section, name ]) => section == 'main' && name == 'enabled');

		return changed != OFF.includes(shape.object(enabled.value).value);
	});
}

/* The init script starts no daemon that is switched off. */
function ask(method, params) {
	const call = declare('tsg', method, params);

	return (...args) => call(...args).then(answer => answer.fault != 'gone' ? answer : isOff().then(off => off ? { fault: 'off' } : answer));
}

const leds = declare('luci', 'getLEDs');
const run = declare('file', 'exec', [ 'command', 'params' ]);

return baseclass.extend({
	status: ask('status'),
	counters: ask('counters'),
	peers: ask('peers'),
	policy: ask('policy'),
	flows: ask('flows'),
	preflight: ask('preflight'),
	ports: ask('ports'),
	setup: ask('setup', [ 'lan', 'wan', 'address', 'vlan', 'standalone' ]),
	enrol: ask('enrol', [ 'token' ]),
	reconnect: ask('reconnect'),
	bypass: ask('bypass', [ 'seconds' ]),
	log: declare('log', 'read', [ 'lines', 'stream', 'oneshot' ]),

	/* The names of this box's LEDs, as far as LuCI knows them. */
	leds: () => leds().then(answer => Object.keys(answer.value || {}).sort()),

	/* `start` or `restart`: exactly these two command lines are what the access list allows. */
	service(action) {
		return run('/etc/init.d/tsg', [ action ]).then(answer => {
			if (answer.value && answer.value.code !== 0 && answer.value.code != null)
				return { fault: 'failed', text: answer.value.stderr || answer.value.stdout };

			return answer;
		});
	},

	/* Why an action did not happen, as text for people; null if it did. */
	refusal(answer) {
		if (answer.value && answer.value.ok === true)
			return null;
		if (answer.value && typeof(answer.value.error) == 'string')
			return answer.value.error;

		return this.explain(answer.fault);
	},

	explain(fault) {
		switch (fault) {
		case 'gone':
			return _('The gateway is not running on this box.');
		case 'off':
			return _('The gateway is switched off on the page Settings, so everything crosses unprotected. Switch it on there, then press \u201cSave & Apply\u201d.');
		case 'older':
			return _('The gateway on this box is an older version that cannot do this. Upgrade the package tsg-bridge.');
		case 'denied':
			return _('This login is not allowed to do that. Log in as an administrator.');
		default:
			return _('The gateway does not answer. If this stays so, look at the log.');
		}
	}
});
