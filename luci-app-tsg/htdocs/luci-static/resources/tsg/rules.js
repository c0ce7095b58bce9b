'use strict';
'require baseclass';
'require tsg.shape as shape';

/*
 * What the gateway takes in the options of a local rule, as src/tsg-control/src/policy/parse.rs has it: one word that it
 * does not take, and all settings are refused.
 */

const PROTOCOLS = { icmp: 1, igmp: 2, tcp: 6, udp: 17, esp: 50, icmpv6: 58, ospf: 89, sctp: 132 };
const PORTED = [ PROTOCOLS.tcp, PROTOCOLS.udp, PROTOCOLS.sctp ];
const IPV4 = /^(25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(\.(25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)){3}$/;
const MOST = 64, LONGEST_NAME = 64;

function words(value) {
	return String(value == null ? '' : value).split(/[\s,]+/).filter(word => word);
}

function isAny(value) {
	return /^\s*(any|all)\s*$/.test(value);
}

/* null if it is none. */
function number(word, most) {
	return /^\d+$/.test(word) && +word <= most ? +word : null;
}

function protocol(word) {
	const named = shape.among(PROTOCOLS, word.toLowerCase());

	return named != null ? named : number(word, 255);
}

/* An address of a URL is read as strictly. */
function isIPv6(text) {
	try {
		return /^[0-9A-Fa-f:.]+$/.test(text) && !!new URL('http://[' + text + ']/');
	}
	catch (error) {
		return false;
	}
}

function isBlock(word) {
	const at = word.indexOf('/');
	const address = at < 0 ? word : word.slice(0, at);
	const longest = IPV4.test(address) ? 32 : isIPv6(address) ? 128 : null;

	return longest != null && (at < 0 || number(word.slice(at + 1), longest) != null);
}

function isPorts(word) {
	const [ , first, , last ] = /^(\d+)([-:](\d+))?$/.exec(word) || [];

	return first != null && number(first, 65535) != null && (last == null || number(last, 65535) != null && +first <= +last);
}

/* true, or what is wrong. */
function all(value, fits, wanted) {
	const given = words(value);
	const wrong = given.find(word => !fits(word));
	if (wrong != null)
		return wanted.format(shape.text(wrong, 60));

	return given.length <= MOST || _('At most %d values.').format(MOST);
}

return baseclass.extend({
	/* For LuCI's forms: true, or what is wrong. */
	proto(value) {
		return isAny(value) || all(value, word => protocol(word) != null,
			_('\u201c%s\u201d is no protocol: tcp, udp, sctp, icmp, icmpv6, igmp, esp, ospf or a number to 255.'));
	},

	address(value) {
		return all(value, isBlock, _('\u201c%s\u201d is no address: one looks like 192.0.2.7, many like 192.0.2.0/24.'));
	},

	/* `proto`: what stands in that option beside it. */
	port(value, proto) {
		if (!words(value).length)
			return true;
		if (isAny(proto) || !words(proto).length || !words(proto).every(word => PORTED.includes(protocol(word))))
			return _('Ports want a protocol that has them: tcp, udp or sctp.');

		return all(value, isPorts, _('\u201c%s\u201d is no port: one looks like 502, many like 44818-44820, up to 65535.'));
	},

	name(value) {
		return new TextEncoder().encode(value).length <= LONGEST_NAME || _('It is too long.');
	}
});
