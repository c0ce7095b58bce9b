'use strict';
'require baseclass';
'require tsg.shape as shape';

/*
 * Is what should be protected protected? One word, why, and what to do, from an answer of `status`.
 * Levels: good (sealed), care (sealed, and somebody should look), bad (not sealed), off (nobody wants it sealed).
 */

const SEALED = _('SEALED');
const NOT_SEALED = _('NOT SEALED');

function stopped(status) {
	return status.fail == 'open'
		? _('Until then what should be sealed crosses UNPROTECTED, as \u201cfail open\u201d says.')
		: _('Until then what should be sealed is stopped, as \u201cfail closed\u201d says.');
}

/* By what the daemon says of itself, while it has no key to seal with. */
function unsealed(status) {
	switch (status.state) {
	case 'idle':
		if (status.enabled === false)
			return [ 'off', _('SWITCHED OFF'),
				_('The gateway is switched off in its settings. Everything crosses unprotected.'),
				_('To protect the machines behind it, switch it on on the page Settings.') ];

		return [ 'off', _('NOT SET UP'),
			_('No key server is set yet. Everything crosses unprotected.'),
			_('Paste a token from the key server on the page Settings, then say on the page Bridge which port leads where.') ];
	case 'pending':
		return [ 'bad', NOT_SEALED,
			_('The key server was reached, and an operator has to let this gateway in.') + ' ' + stopped(status),
			_('Compare the fingerprint on the page Settings with what the key server lists, and approve it there.') ];
	case 'refused':
		return [ 'bad', NOT_SEALED, _('The key server answers and refuses.') + ' ' + stopped(status),
			_('The alarm below says why; most often a token that was used before or is too old. Ask for a new one.') ];
	case 'revoked':
		return [ 'bad', NOT_SEALED, _('An operator has thrown this gateway out of its group.') + ' ' + stopped(status),
			_('If that was a mistake, it can be approved again on the key server.') ];
	case 'searching':
		return [ 'bad', NOT_SEALED, _('The key server has not answered since the gateway started.') + ' ' + stopped(status),
			_('Is its address right, is TCP port 5555 open on the way, does the key server run?') ];
	case 'no key':
		return [ 'bad', NOT_SEALED, _('There is no key that may be used.') + ' ' + stopped(status),
			_('The alarms below say why there is none.') ];
	default:
		return [ 'bad', NOT_SEALED,
			_('The gateway is in a state that this page does not know: %s.').format(shape.text(status.state, 40) || '?'),
			_('Upgrade the package luci-app-tsg to the version of the gateway.') ];
	}
}

/* It has a key: does that protect everything that it should? */
function sealing(status) {
	const lost = shape.list(status.bridges).map(shape.object).find(bridge => bridge.attach == null);
	if (status.routed === true && !shape.list(status.bridges).length)
		return [ 'good', _('KEYS READY'),
			_('No port was given to the gateway: it gets keys for the tunnels of this box. Whether those seal, the page Interfaces shows.'), '' ];

	if (lost || !shape.list(status.bridges).length)
		return [ 'bad', NOT_SEALED,
			lost ? _('The gateway has keys and cannot get at the packets of %s.').format(shape.text(lost.device, 40))
			     : _('The gateway has keys, and no port was given to it.'),
			_('Look at the page Bridge: it says what is in the way.') ];

	switch (status.mode) {
	case 'learn':
	case 'receive-only':
		return [ 'bad', NOT_SEALED,
			_('The group is still being rolled out (mode \u201c%s\u201d): this gateway seals nothing yet.').format(status.mode),
			_('When all is prepared, set the mode of the group to \u201cmigrate\u201d on the key server.') ];
	case 'migrate':
		return [ 'care', SEALED,
			_('The group is being rolled out (mode \u201cmigrate\u201d): sealed between machines with a gateway, UNPROTECTED to the others.'),
			_('The page Policy shows who would be cut off by \u201cenforce\u201d. When that is nobody any more, set it on the key server.') ];
	case 'enforce':
		break;
	default:
		return [ 'care', SEALED,
			_('The group is in a mode that this page does not know: %s.').format(shape.text(status.mode, 40) || '?'),
			_('Upgrade the package luci-app-tsg to the version of the gateway.') ];
	}

	if (status.connected === false)
		return [ 'care', SEALED,
			_('Everything that the policy wants sealed is sealed. The key server does not answer; the keys at hand serve until they end.'),
			_('Bring the key server back before that. Do not restart this box meanwhile: it would lose its keys.') ];
	if (shape.list(status.alarms).length)
		return [ 'care', SEALED, _('Everything that the policy wants sealed is sealed.'),
			_('Somebody should look at the alarms below.') ];

	return [ 'good', SEALED, _('Everything that the policy wants sealed is sealed, and nothing else is let in.'), '' ];
}

return baseclass.extend({
	of(status) {
		const bypass = shape.object(status.bypass);
		if (status.bypass != null)
			return this.made([ 'bad', _('NOT SEALED: BYPASS'),
				_('Somebody has switched protection off for a while: %s to go. What should be sealed crosses UNPROTECTED.')
					.format(shape.clock(bypass.ends_in_s)),
				_('It ends by itself. To protect again at once, end the bypass below.') ]);

		return this.made(status.state == 'sealing' ? sealing(status) : unsealed(status));
	},

	/* Without an answer. */
	without(fault) {
		switch (fault) {
		case 'gone':
			return this.made([ 'bad', _('NOT RUNNING'),
				_('The gateway is not running on this box, so nothing is sealed. With \u201cfail closed\u201d what should be sealed is stopped.'),
				_('Start it. If it does not stay up, the log says why.') ]);
		case 'off':
			return this.made(unsealed({ state: 'idle', enabled: false }));
		case 'denied':
			return this.made([ 'off', _('UNKNOWN'), _('This login is not allowed to see the state of the gateway.'),
				_('Log in as an administrator.') ]);
		default:
			return this.made([ 'bad', _('UNKNOWN'), _('The gateway does not answer.'),
				_('If this stays so, look at the log, and restart the gateway.') ]);
		}
	},

	made([ level, word, why, todo ]) {
		return { level: level, word: word, why: why, todo: todo };
	}
});
