'use strict';
'require baseclass';
'require rpc';

/* LuCI's network, as far as a protocol uses it. */

const dump = rpc.declare({ object: 'network.interface', method: 'dump', expect: { interface: [] } });

const errors = { MISSING_PEER_ADDRESS: 'Peer address is missing' };
const protocols = {};

const Protocol = baseclass.extend({
	__init__(sid, status) {
		Object.assign(this, { sid: sid, status: status });
	},

	_ubus(field) {
		return this.status?.[field] ?? null;
	},

	getErrors() {
		return (this._ubus('errors') ?? []).map(error => errors[error.code] ?? `Unknown error (${error.code})`);
	}
});

return baseclass.extend({
	registerProtocol(name, methods) {
		protocols[name] = Protocol.extend(methods);

		return protocols[name];
	},

	/* Whoever comes first has it. */
	registerErrorCode(code, words) {
		if (Object.hasOwn(errors, code))
			return false;
		errors[code] = words;

		return true;
	},

	getIfnameOf(device) {
		return device;
	},

	getNetwork(sid, protocol) {
		return dump().then(all => new protocols[protocol](sid, all.find(one => one.interface == sid)));
	}
});
