# Stands in for netifd's own: functions that write down how they are called. Options of the interface come from the
# environment, as OPTION_name. tests/lab/test_9_netifd.py runs the same script under the real one.
# shellcheck shell=dash disable=SC2153,SC2154,SC2317

note() {
    echo "$*" >>/router/calls
}

# The program makes a device, and it is up.
proto_run_command() {
    note run_command "$@"
    /usr/sbin/ip link delete "$1" 2>/dev/null || :
    # One that is held, as a TUN device by its program.
    /usr/sbin/ip link add "$1" up type veth peer name held
    /usr/sbin/ip link set held up
}

for name in kill_command init_update send_update notify_error block_restart setup_failed add_ipv4_address \
    add_ipv6_address add_ipv4_route add_ipv6_route config_add_string config_add_boolean config_add_int config_add_array; do
    eval "proto_$name() { note $name \"\$@\"; }"
done

# ubus's code: 2 if it is no address, 4 if there is no way.
proto_add_host_dependency() {
    note add_host_dependency "$@"
    return "${DEPENDENCY:-0}"
}

json_get_vars() {
    for name in "$@"; do
        eval "$name=\${OPTION_$name:-}"
    done
}

json_get_values() {
    eval "$1=\${OPTION_$2:-}"
}

# Before applets of busybox, which come before programs.
ip() {
    [ "$*" = "route get ${ROUTE%% *}" ] && echo "$ROUTE"
}

resolveip() {
    [ "$*" = "-t 10 ${NAME%% *}" ] && echo "${NAME#* }" | tr ' ' '\n'
}

sleep() {
    note sleep "$@"
}

init_proto() {
    proto=$1 action=$2 interface=${3:-}
}

# The script has defined its own by now, which waits.
add_protocol() {
    await_other_options() {
        note await_other_options
        exit 1
    }
    [ "$proto" = "$1" ] || return 0
    case $action in
    dump) "proto_$1_init_config" && note "available=$available no_device=$no_device" ;;
    *) "proto_$1_$action" "$interface" ;;
    esac
}
