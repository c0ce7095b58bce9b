#!/bin/sh
# `option proto 'tsg'` in /etc/config/network: one end of a tunnel, run by netifd as an interface (docs/openwrt.md).
#
# netifd calls this with `setup` and `teardown`. What it holds itself: it calls `setup` only while there is a way to the
# other end, ends this script when the program ends, and starts over whatever ended until `ifdown` or a block.
# shellcheck shell=dash disable=SC1091

. ../netifd-proto.sh
init_proto "$@"

PROG=/usr/libexec/tsg/tunnel
# So long stands what went wrong before it is tried again, in seconds; netifd takes at most five for an end.
PAUSE=4

proto_tsg_init_config() {
	# shellcheck disable=SC2034
	available=1 no_device=1
	proto_config_add_string peer
	proto_config_add_string tunlink
	proto_config_add_string key_file
	proto_config_add_boolean group
	proto_config_add_boolean udp
	proto_config_add_boolean transport
	proto_config_add_int mtu
	proto_config_add_array addresses
	proto_config_add_array routes
	# As for any interface: without it, no default route comes in, whatever `routes` says.
	proto_config_add_boolean defaultroute
}

proto_tsg_setup() {
	local config="$1"
	local peer tunlink key_file group udp transport mtu addresses routes defaultroute device
	json_get_vars peer tunlink key_file group udp transport mtu defaultroute
	json_get_values addresses addresses
	json_get_values routes routes
	key_file=${key_file:-/etc/tsg/tunnel-$config.key}

	check_options && look_up && await_way || return 1
	set -- --log syslog tunnel "$device" --dst "$peer" --tun "$config"
	if [ "$group" = 1 ]; then
		set -- "$@" --group
	else
		set -- "$@" --key-file "$key_file"
	fi
	[ "$udp" != 1 ] || set -- "$@" --udp
	[ "$transport" != 1 ] || set -- "$@" --transport
	[ -z "$mtu" ] || set -- "$@" --mtu "$mtu"
	proto_run_command "$config" "$PROG" "$@"
	# It is up when the program has it, and its MTU. If that does not come, the program ends, and this script with it.
	until is_up; do sleep 1; done
	send_update
}

proto_tsg_teardown() {
	local config="$1"
	case ${ERROR:-0} in
	0) ;;
	# Its words are in the log.
	2) fail TSG_OPTION "the program does not take the options of this interface" ;;
	*) fail TSG_FAILED "the program ended with an error: the lines before this one say which" ;;
	esac
	proto_kill_command "$config"
}

# --- the steps of a setup; they share its variables ---------------------------------------------------------------------

check_options() {
	# A program that was killed leaves its own, which the next one takes over.
	[ ! -e "/sys/class/net/$config" ] || [ -e "/sys/class/net/$config/tun_flags" ] ||
		refuse TSG_NAME "there is a device $config already: call the interface something else"
	[ ${#config} -le 15 ] ||
		refuse TSG_NAME "the name of this interface is a device's: 15 characters at most"
	[ -n "$peer" ] ||
		refuse MISSING_PEER_ADDRESS "option peer is missing: the address or the name of the other end"
	! has_no_route || [ -n "$tunlink" ] ||
		refuse TSG_TUNLINK "option tunlink is missing: no route says by which interface the other end is reached"
	[ "$transport" != 1 ] || [ -z "$addresses$routes" ] ||
		refuse TSG_TRANSPORT "option transport is for the two hosts alone: no option addresses, no option routes"
	[ -z "$mtu" ] || is_between "$mtu" 576 65535 ||
		refuse TSG_MTU "option mtu is \"$mtu\"; it is to be between 576 and 65535"
	[ "${key_file#/}" != "$key_file" ] ||
		refuse TSG_KEY_FILE "option key_file is \"$key_file\"; it is to be a whole path, as /etc/tsg/$config.key"
	check_each addresses "10.9.0.1/24 or fd09::1/64" "$addresses" &&
		check_each routes "198.51.100.0/24 or fd51::/64" "$routes"
}

check_each() {
	local one
	for one in $3; do
		is_address "$one" || refuse INVALID_ADDRESS "option $1 has \"$one\"; it is to look like $2"
	done
}

# None that is to go past the tunnel: an end that calls from anywhere, or the one that is to go through it alone.
has_no_route() {
	case $peer in 0.0.0.0 | ::) return 0 ;; esac
	[ "$transport" = 1 ]
}

# The address of a name, as it is now.
look_up() {
	local name="$peer"
	case $peer in
	*:*) return ;;
	*[!0-9.]*) peer=$(resolveip -t 10 "$name" | head -n 1) ;;
	esac
	[ -n "$peer" ] && return
	fail PEER_RESOLVE_FAIL "option peer is \"$name\", and nobody knows the address of that name now"
	proto_setup_failed "$config"
	return 1
}

# The device that leads to the other end. netifd makes a route to it that goes past the tunnel; without a way there it
# ends this script, which is to say so first, and calls it again when there is one.
await_way() {
	local problem=0 past="$peer"
	! has_no_route || past=
	trap '' TERM
	proto_add_host_dependency "$config" "$past" "$tunlink" || problem=$?
	[ "$problem" != 4 ] || echo "no way to $peer${tunlink:+ by interface $tunlink} yet"
	trap - TERM
	case $problem in
	0) ;;
	4) return 1 ;;
	*) refuse TSG_PEER "option peer is \"$peer\"; it is to be an address or a name" ;;
	esac
	if [ -n "$past" ]; then
		device=$(ip route get "$peer" | sed -n 's/.* dev \([^ ]*\).*/\1/p')
	else
		device=$(jsonfilter -s "$(ubus call "network.interface.$tunlink" status)" -e '@.l3_device')
	fi
	[ -n "$device" ] || fail TSG_NO_ROUTE "no route leads to $peer"
}

is_up() {
	local carrier=0
	# Of a device that is down it cannot be read.
	[ -e "/sys/class/net/$config/carrier" ] && read -r carrier 2>/dev/null <"/sys/class/net/$config/carrier"
	[ "$carrier" = 1 ]
}

send_update() {
	local address network
	proto_init_update "$config" 1
	for address in $addresses; do
		case $address in
		*:*) proto_add_ipv6_address "${address%/*}" "$(prefix_of "$address" 128)" ;;
		*) proto_add_ipv4_address "${address%/*}" "$(prefix_of "$address" 32)" ;;
		esac
	done
	for network in $routes; do
		case $network in
		*/0) [ "$defaultroute" = 0 ] || add_default_route ;;
		*:*) proto_add_ipv6_route "${network%/*}" "$(prefix_of "$network" 128)" ;;
		*) proto_add_ipv4_route "${network%/*}" "$(prefix_of "$network" 32)" ;;
		esac
	done
	proto_send_update "$config"
}

# In halves: a whole one would take the place of that of another interface with the same metric, for good.
add_default_route() {
	case $network in
	*:*) proto_add_ipv6_route :: 1; proto_add_ipv6_route 8000:: 1 ;;
	*) proto_add_ipv4_route 0.0.0.0 1; proto_add_ipv4_route 128.0.0.0 1 ;;
	esac
}

# --- addresses ----------------------------------------------------------------------------------------------------------

is_address() {
	case $1 in
	*[!0-9a-fA-F:./]* | /* | */*/*) return 1 ;;
	*:*) is_between "$(prefix_of "$1" 128)" 0 128 ;;
	*) is_ipv4 "${1%/*}" && is_between "$(prefix_of "$1" 32)" 0 32 ;;
	esac
}

is_ipv4() {
	local part count=0 IFS=.
	for part in $1; do
		is_between "$part" 0 255 || return 1
		count=$((count + 1))
	done
	[ "$count" = 4 ]
}

is_between() {
	case $1 in '' | *[!0-9]* | ??????*) return 1 ;; esac
	[ "$1" -ge "$2" ] && [ "$1" -le "$3" ]
}

prefix_of() {
	case $1 in
	*/*) echo "${1#*/}" ;;
	*) echo "$2" ;;
	esac
}

# --- what went wrong: in the log, in `ifstatus`, and in LuCI, which has words for each code ------------------------------

# An option that nothing comes of until it is another one.
refuse() {
	tell "$1" "$2"
	await_other_options
}

# netifd ends this script when there are other options, and calls it anew. A block would outlast the correction.
await_other_options() {
	exec sleep 2147483647
}

# What may be better the next time. Returns 1.
fail() {
	tell "$1" "$2"
	sleep "$PAUSE"
	return 1
}

tell() {
	echo "$2"
	proto_notify_error "$config" "$1" "$2"
}

add_protocol tsg
