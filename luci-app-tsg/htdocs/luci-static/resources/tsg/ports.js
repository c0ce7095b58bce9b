'use strict';
'require baseclass';
'require uci';
'require tsg.parts as parts';
'require tsg.shape as shape';

/* The switches of a port's offloads, kept as `config port` in /etc/config/tsg. */

const OFFLOADS = {
	gro: _('join on receipt (GRO)'),
	lro: _('join on receipt, in the card (LRO)'),
	rx_gro_list: _('join as lists (rx-gro-list)'),
	rx_udp_gro_forwarding: _('join datagrams (rx-udp-gro-forwarding)'),
	gso: _('cut when sending (GSO)'),
	tso: _('cut when sending, in the card (TSO)')
};

/* The `config port` of a device, if there is one. */
function sectionOf(device) {
	const found = uci.sections('tsg', 'port').find(section => section.device == device);

	return found ? found['.name'] : null;
}

function wish(device, offload) {
	const section = sectionOf(device);
	const value = section && uci.get('tsg', section, offload);

	return value === '0' || value === '1' ? value : '';
}

function nameFor(device) {
	const name = 'port_' + device.replace(/[^A-Za-z0-9_]/g, '_');

	return uci.get('tsg', name) ? undefined : name;
}

function put(device, offload, value) {
	let section = sectionOf(device);
	if (!section) {
		if (!value)
			return;
		section = uci.add('tsg', 'port', nameFor(device));
		uci.set('tsg', section, 'device', device);
	}
	uci.set('tsg', section, offload, value || null);
}

/* A `config port` that wishes nothing any more. */
function clear(device) {
	const section = sectionOf(device);
	const has = name => name.charAt(0) != '.' && name != 'device' && uci.get('tsg', section, name) != null;
	if (section && !Object.keys(uci.get('tsg', section)).some(has))
		uci.remove('tsg', section);
}

/* What is now is no answer to what it would be without a wish: that made it so. */
function unwished(now, device, offload) {
	if (wish(device, offload) || now.wanted != null)
		return _('as before');

	return now.on ? _('as it is (on)') : _('as it is (off)');
}

const ROLES = [ 'lan', 'wan' ];

const Switches = baseclass.extend({
	__init__(ports) {
		this.switches = [];
		this.node = parts.table([ _('Port'), ...Object.values(OFFLOADS) ],
			ports.map(port => [ parts.port(port.name), ...Object.keys(OFFLOADS).map(offload => this.cell(port, offload)) ]),
			_('This box has no network ports that could be used.'));
	},

	cell(port, offload) {
		const now = shape.object(shape.object(port.offloads)[offload]);
		if (now.on !== true && now.on !== false)
			return '\u2013';
		if (now.fixed === true)
			return E('span', { 'data-fixed': offload }, [ now.on ? _('fixed: on') : _('fixed: off') ]);

		const device = String(port.name);
		const select = E('select', {
			'class': 'cbi-input-select tsg-switch', 'data-port': shape.text(device, 40), 'data-offload': offload,
			'aria-label': '%s: %s'.format(shape.text(device, 40), OFFLOADS[offload]), 'disabled': parts.readonly() ? true : null
		}, [ [ '', unwished(now, device, offload) ], [ '1', _('on') ], [ '0', _('off') ] ].filter(([ value ]) =>
			/* What LRO has joined cannot be passed on as it was: the gateway refuses that. */
			!(value == '1' && offload == 'lro' && ROLES.includes(port.role)) || wish(device, offload) == '1').map(([ value, label ]) =>
			E('option', { 'value': value, 'selected': value == wish(device, offload) ? true : null }, [ label ])));
		this.switches.push({ device: device, offload: offload, select: select });

		return select;
	},

	/* Into LuCI's staged changes, at the next save. */
	stage() {
		const changed = this.switches.filter(one => one.select.value != wish(one.device, one.offload));

		changed.forEach(one => put(one.device, one.offload, one.select.value));
		changed.forEach(one => clear(one.device));
	},

	reset() {
		for (const one of this.switches)
			one.select.value = wish(one.device, one.offload);
	}
});

return baseclass.extend({
	offloads(ports) {
		return new Switches(ports);
	}
});
