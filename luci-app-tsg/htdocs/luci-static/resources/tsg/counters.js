'use strict';
'require baseclass';
'require tsg.shape as shape';

/* What each counter of the gateway means, for who has never heard of it. docs/operations.md says more. */

/* Bytes of IP packets as the machines send and get them. */
const BYTES = [ 'sealed_bytes', 'opened_bytes' ];

/* Among the counters, and no packets: the page has it elsewhere. */
const ELSEWHERE = [ 'senders_known', ...BYTES ];

const DROPPED = {
	drop_in_clear: [ _('Arrived unprotected'), _('Somebody on the plant side sends unprotected what the policy wants sealed: a machine without a gateway, or an attacker.') ],
	drop_unknown_epoch: [ _('Sealed with unknown keys'), _('The other gateway has other keys: is it online? Or it is an old recording.') ],
	drop_stale: [ _('Too old'), _('Recordings played back, or the other gateway has another time.') ],
	drop_future: [ _('From the future'), _('The other gateway has another time: is it online?') ],
	drop_replayed: [ _('Came twice'), _('A loop in the network, a path that doubles packets, or an attacker who plays a recording back.') ],
	drop_too_old: [ _('Came too late'), _('As \u201cCame twice\u201d: a loop, a doubled path, or a recording.') ],
	drop_unauthentic: [ _('Changed or forged'), _('Bits changed on the way (look at the error counters of the ports), address translation between the gateways, or forged packets.') ],
	drop_sealed_fragment: [ _('Cut on the way'), _('Sealed packets are cut between the gateways. Set the largest packet of the plant network on the page Bridge.') ],
	drop_too_big: [ _('Too big once sealed'), _('The sender is told and makes its packets smaller. For one that does not listen: Settings, Too large packets.') ],
	drop_too_big_silent: [ _('Too big, sender not told'), _('Very large packets that can neither be cut nor answered.') ],
	drop_outbox_full: [ _('Too many large packets at once'), _('Very large packets that can neither be cut nor answered.') ],
	drop_too_long: [ _('Longer than can be sealed'), _('A machine with jumbo frames: set its MTU to 1500.') ],
	drop_no_room: [ _('No room to seal it'), _('A machine with jumbo frames: set its MTU to 1500.') ],
	drop_unknown_sender: [ _('Sender never admitted'), _('The key server never let in who sealed this: forged packets.') ],
	drop_inside_policy: [ _('Sealed against the policy'), _('A member sealed what this policy does not want sealed: do all gateways have the same policy?') ],
	drop_exhausted: [ _('Numbers used up'), _('The gateway may not seal more with this key. Is the key server reachable?') ],
	drop_no_key: [ _('No key'), _('It should have been sealed and there was no key: see the alarms.') ],
	drop_policy: [ _('Forbidden by a rule'), _('A rule with the action \u201cdrop\u201d.') ],
	drop_gate: [ _('Stopped at the port'), _('What the gateway cannot look into, or what came while its rules were gone (for example while the firewall restarted).') ],
	drop_budget: [ _('Too many unknown senders'), _('Right after new keys for a very large group, or a flood.') ],
	drop_malformed_ip: [ _('Broken packets from machines'), _('A broken network card or driver, or somebody who tries something.') ],
	drop_icmp_about_sealed: [ _('Doubtful error messages'), _('Network error messages (ICMP) that could be forged.') ],
	drop_icmp_bad_quote: [ _('Doubtful error messages, garbled'), _('Network error messages (ICMP) that could be forged.') ],
	drop_source_route: [ _('With a prescribed route'), _('No plant sends that: look where it comes from.') ],
	drop_malformed: [ _('Broken sealed packets'), _('No plant sends that: look where it comes from.') ],
	drop_bad_inner: [ _('Nonsense inside'), _('No plant sends that: look where it comes from.') ],
	drop_wrong_padding: [ _('Wrongly padded'), _('No plant sends that: look where it comes from.') ]
};

const PASSED = {
	sealed: [ _('Sealed'), _('Packets that left this gateway protected.') ],
	opened: [ _('Opened'), _('Protected packets that arrived and were right. If only one of Sealed and Opened grows, the other end does not answer, or not protected.') ],
	bypassed: [ _('Passed unprotected, as the policy wants'), _('No rule wants these sealed.') ],
	in_clear: [ _('Passed UNPROTECTED against the rule'), _('A rule wants them sealed and they went unprotected: while the group is being rolled out, without a key with \u201cfail open\u201d, or during a bypass.') ],
	in_series: [ _('Sealed by another gateway'), _('Of a gateway behind this one; they pass as they are.') ],
	unreached: [ _('Sealed for nobody'), _('For machines that are behind no known gateway: see the alarm.') ],
	fragmented: [ _('Cut into pieces'), _('Too big once sealed, so they were cut. If there are many: set a smaller MTU on the machines.') ],
	path_mtu_lowered: [ _('Narrow path found'), _('A router said that its path takes less. If it is always the same one: set the largest packet of the plant network on the page Bridge.') ],
	clamped: [ _('Connections made to fit'), _('TCP connections whose packets were made smaller so that they fit once sealed.') ],
	time_told: [ _('Time told'), _('Said the time to gateways that came back from a power cut without the key server.') ],
	time_heard: [ _('Time heard'), _('Heard the time from other gateways after a power cut without the key server.') ],
	attach_frames: [ _('Looked at'), _('Packets that came to the gateway to be looked at.') ],
	attach_extra: [ _('Sent by itself'), _('Pieces and messages that the gateway sent by itself.') ],
	attach_queue_full: [ _('Lost: box too slow'), _('This box has more to do than it can.') ],
	attach_send_failed: [ _('Lost: port did not take them'), _('A port is down, or has a smaller MTU.') ],
	attach_no_link_address: [ _('Lost: next hop unknown'), _('Nobody knows the Ethernet address that they go to. A few after a start are no fault.') ],
	attach_malformed: [ _('Handed over garbled'), _('The kernel handed over what makes no sense: call support.') ],
	attach_same_side: [ _('Did not cross'), _('Came to a port although they do not cross the gateway; left alone.') ]
};

return baseclass.extend({
	BYTES: BYTES,

	/* The drops of `counters`, the largest first: [{ name, title, text, value }]. Also those of later versions. */
	dropped(counters) {
		return this.rows(counters, name => name.startsWith('drop_'), DROPPED)
			.sort((one, other) => other.value - one.value);
	},

	passed(counters) {
		const order = Object.keys(PASSED);
		const place = row => order.includes(row.name) ? order.indexOf(row.name) : order.length;

		return this.rows(counters, name => !name.startsWith('drop_') && !ELSEWHERE.includes(name), PASSED)
			.sort((one, other) => place(one) - place(other));
	},

	rows(counters, wanted, words) {
		return Object.keys(shape.object(counters)).filter(wanted).map(name => {
			const known = shape.among(words, name) || [ shape.text(name, 60), '' ];

			return { name: name, title: known[0], text: known[1], value: shape.number(counters[name]) || 0 };
		});
	},

	/* All that was dropped, together. */
	drops(counters) {
		return this.dropped(counters).reduce((sum, row) => sum + row.value, 0);
	}
});
