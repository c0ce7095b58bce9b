'use strict';
'require baseclass';

/* LuCI's rpc: JSON-RPC to ubus, and what it makes of the answers. */

let last = 0;

async function call(object, method, given) {
	const answer = await fetch('/ubus', {
		method: 'POST',
		headers: { 'Content-Type': 'application/json' },
		body: JSON.stringify({ jsonrpc: '2.0', id: ++last, method: 'call', params: [ 'session', object, method, given ] })
	});
	if (!answer.ok)
		throw new Error(`RPC call to ${object}/${method} failed with HTTP error ${answer.status}: ${answer.statusText || '?'}`);

	return answer.json();
}

return baseclass.extend({
	declare(options) {
		return async (...values) => {
			const given = {};
			for (const name of options.params ?? [])
				given[name] = values.shift();
			const { error, result } = await call(options.object, options.method, given);
			const where = `RPC call to ${options.object}/${options.method} failed`;
			if (error)
				throw new Error(`${where} with error ${error.code}: ${error.message}`);
			if (options.reject && result[0] !== 0)
				throw new Error(`${where} with ubus code ${result[0]}: ?`);

			let value = result.length > 1 ? result[1] : result[0];
			for (const key in options.expect ?? {}) {
				const expected = options.expect[key];
				value = key == '' || value == null ? value : value[key];
				if (Object.prototype.toString.call(value) != Object.prototype.toString.call(expected))
					value = expected;
			}

			return value;
		};
	}
});
