'use strict';
'require baseclass';
'require tsg.parts as parts';

/*
 * What to do about an alarm. The texts come from the daemon, in English; docs/operations.md has them all. The first
 * that fits counts.
 */

const ADVICE = [
	[ 'an operator has to approve this gateway', _('Compare the fingerprint on the page Settings with the list on the key server, then approve this gateway there.') ],
	[ 'no answer of the key server yet', _('Is the address on the page Settings right, is TCP port 5555 open on the way, does the key server run?') ],
	[ 'the key server breaks off every connection', _('Was this gateway revoked on the key server? If not, compare the key server\u2019s public key on the page Settings with what \u201ctsg-server key\u201d says there.') ],
	[ 'the key server does not answer for', _('Bring the key server back before the keys end. Do not restart gateways meanwhile: one that loses power has no keys then.') ],
	[ 'the key server refuses', _('The alarm says why: most often a token that was used before or is too old. Ask for a new one.') ],
	[ 'the key server speaks version', _('Upgrade what the alarm names, before the keys end.') ],
	[ 'policy ', _('Upgrade this gateway, or take out of the policy what the alarm names.') ],
	[ 'epoch ', _('Upgrade this gateway, or set the group to what all its gateways know.') ],
	[ 'thrown out of the group', _('If that was a mistake: approve this gateway again on the key server.') ],
	[ 'no key: what the rules match is stopped', _('Another alarm says why there is no key. What should be sealed is stopped meanwhile.') ],
	[ 'no key: what the rules match goes IN CLEAR', _('The plant works and is unprotected: treat it as an incident. Another alarm says why there is no key.') ],
	[ 'the time of the key server is not known', _('Its answers come too late: is a line full on the way, or does somebody hold them back?') ],
	[ 'the time may be off by', _('Bring the key server back. Until then, recordings can be played back for as much longer.') ],
	[ 'no gateway is known in front of', _('If these machines have a gateway: is it online? If they shall have none: a rule \u201cbypass\u201d for them, knowing that they are then unprotected.') ],
	[ 'sequence numbers cannot be stored', _('The folder /var/run/tsg is full or cannot be written: make room. It goes on by itself.') ],
	[ 'the settings are wrong, and after a restart nothing would run', _('The gateway goes on with the settings of before. Correct what the alarm names, on the page Settings or Bridge, before this box loses power.') ],
	[ 'the next boot would begin with an older policy', _('Make room on the flash, or see why it cannot be written. It goes on by itself.') ],
	[ 'keys of before the power cut serve', _('Bring the key server back. After four more power cuts this gateway could only receive.') ],
	[ 'option cache_keys: a power cut would leave no keys', _('Make room on the flash, or see why it cannot be written. It goes on by itself.') ],
	[ 'timed bypass', _('Protection is switched off for a while. It ends by itself, or at once with the button below.') ],
	[ ': the gate does not stand', _('Rules on that bridge do not stand. They come back by themselves once they can; the page Bridge says what is in the way.') ],
	[ ': a port is missing', _('Is the port there, is its name right on the page Bridge?') ]
];

function advice(alarm) {
	const text = String(alarm);
	const found = ADVICE.find(([ words ]) => words.startsWith(':') ? text.includes(words) : text.startsWith(words));

	return found ? found[1] : _('Look it up in the operations guide (docs/operations.md); if that does not help, run \u201ctsg bundle\u201d and mail what it collects to support.');
}

return baseclass.extend({
	isAboutSettings(alarm) {
		return String(alarm).startsWith('the settings are wrong');
	},

	/* With what to do about it. */
	box(alarm) {
		return E('div', { 'class': 'alert-message warning tsg-alarm' }, [
			E('strong', {}, [ parts.foreign(alarm) ]),
			E('p', {}, [ _('What to do:'), ' ', advice(alarm) ])
		]);
	}
});
