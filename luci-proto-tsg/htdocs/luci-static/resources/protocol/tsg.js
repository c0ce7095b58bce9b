'use strict';
'require form';
'require network';
'require uci';
'require tools.widgets as widgets';

/* One end of a tunnel among LuCI's interfaces. What its options do is done by /lib/netifd/proto/tsg.sh. */

const TUNLINK = _('The interface that the other end is reached by has to be named');

/* Besides those that LuCI has words for. */
const ERRORS = {
	TSG_PEER: _('The other end is neither an address nor a name'),
	TSG_NAME: _('The name of this interface is not free for a device, or longer than 15 characters'),
	TSG_KEY_FILE: _('The key file is no whole path'),
	TSG_MTU: _('The MTU is not between 576 and 65535'),
	TSG_TUNLINK: TUNLINK,
	TSG_TRANSPORT: _('In transport mode there are no addresses and no networks in the tunnel'),
	TSG_NO_ROUTE: _('No route leads to the other end'),
	TSG_OPTION: _('The program does not take these settings; the system log says which'),
	TSG_FAILED: _('The tunnel ended with an error, which is in the system log; it is tried again')
};

for (const [ code, words ] of Object.entries(ERRORS))
	network.registerErrorCode(code, words);

const keyFile = name => `/etc/tsg/tunnel-${name}.key`;
const filter = name => `tsg-transport-${name.replace(/[^a-z0-9]/gi, '_')}`;
const isAnywhere = peer => [ '0.0.0.0', '::' ].includes(peer);

/* A save that is refused has taken hidden options away already. The next one is to see that, and write them again. */
function asItIs(id) {
	return uci.get('network', id, this.option);
}

return network.registerProtocol('tsg', {
	getI18n() {
		return _('Sealed tunnel (TSG)');
	},

	getIfname() {
		return this._ubus('l3_device') || this.sid;
	},

	getPackageName() {
		return 'tsg-proto';
	},

	/* LuCI up to 24.10 calls it so. */
	getOpkgPackage() {
		return 'tsg-proto';
	},

	isFloating() {
		return true;
	},

	isVirtual() {
		return true;
	},

	getDevices() {
		return null;
	},

	containsDevice(ifname) {
		return network.getIfnameOf(ifname) == this.getIfname();
	},

	renderFormOptions(section) {
		let option;
		/* What these two take depends on others. */
		const again = id => [ 'peer', 'tunlink' ].forEach(name => section.getOption(name).triggerValidation(id));

		option = section.taboption('general', form.Value, 'peer', _('Other end'), _('Address or name of the other host. A name is looked up whenever the interface starts. 0.0.0.0 or :: is a host that calls from anywhere, with the key.'));
		option.datatype = 'host(0)';
		option.rmempty = false;
		option.placeholder = '192.0.2.2';
		option.validate = (id, value) => !isAnywhere(value) || section.formvalue(id, 'transport') != '1' || _('In transport mode it has an address');
		option.onchange = (event, id) => again(id);

		option = section.taboption('general', form.DynamicList, 'addresses', _('Own addresses in the tunnel'), _('Each with its prefix. The other end has others of the same network.'));
		option.datatype = 'or(cidr,ipaddr("nomask"))';
		option.placeholder = '10.9.0.1/24';
		option.depends('transport', '0');
		option.cfgvalue = asItIs;

		option = section.taboption('general', form.DynamicList, 'routes', _('Networks behind the other end'), _('What is for them goes through the tunnel. 0.0.0.0/0 and ::/0 are everything but the tunnel itself.'));
		option.datatype = 'or(cidr,ipaddr("nomask"))';
		option.placeholder = '198.51.100.0/24';
		option.depends('transport', '0');
		option.cfgvalue = asItIs;

		option = section.taboption('general', form.Flag, 'udp', _('Carry it in UDP'), _('Port 4500, on both ends, where something on the path takes no IP protocol 50 (ESP). The firewall has to let in the one or the other.'));

		option = section.taboption('general', form.Flag, 'transport', _('Transport mode'), _('Only what the two hosts have for each other, under the addresses that they have. Nothing goes in clear between them from then on, also when the interface is down, until the command %s.').format(`nft delete table inet ${filter(section.section)}`));
		/* LuCI cannot unset what it has set and not applied. */
		option.rmempty = false;
		option.onchange = (event, id) => again(id);

		option = section.taboption('general', widgets.NetworkSelect, 'tunlink', _('Only over this interface'), _('Otherwise the one that leads to the other end. In transport mode, and for a host that calls from anywhere, it has to be named.'));
		option.exclude = section.section;
		option.nocreate = true;
		option.optional = true;
		option.validate = (id, value) => !!value || section.formvalue(id, 'transport') != '1' && !isAnywhere(section.formvalue(id, 'peer')) || TUNLINK;

		option = section.taboption('general', form.Flag, 'group', _('Keys of the group'), _('With the keys of the group that this router is a gateway of, instead of a key file. Both ends have to be gateways of the same group.'));
		option.rmempty = false;

		option = section.taboption('general', form.DummyValue, '_key', _('Key'));
		option.depends('group', '0');
		option.cfgvalue = id => _('It is in the file %s of this router, made when the interface first starts, and never among the settings. Copy the file to the other end, readable by root alone, by a way that nobody reads, before the interface starts there.').format(uci.get('network', id, 'key_file') || keyFile(id));

		option = section.taboption('advanced', form.Value, 'key_file', _('Key file'));
		option.placeholder = keyFile(section.section);
		option.depends('group', '0');
		option.cfgvalue = asItIs;
		option.validate = (id, value) => !value || value.startsWith('/') || _('A whole path, for example %s').format('/etc/tsg/own.key');

		option = section.taboption('advanced', form.Value, 'mtu', _('Largest packet in the tunnel'), _('Only where the path swallows long packets and says nothing of it. Otherwise what fits is found out.'));
		option.datatype = 'and(uinteger,range(576,65535))';
		option.placeholder = _('what fits');
	}
});
