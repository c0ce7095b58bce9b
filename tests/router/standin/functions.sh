# Stands in for what OpenWrt's functions.sh does when opkg has unpacked a package, and before it takes one away: the own script
# of the package, its uci-defaults once, and its services. tests/router/README.md has the contract.
# shellcheck shell=dash disable=SC1090

# A file of opkg's about the package whose script calls.
about() {
    echo "${1%.*}.$2"
}

services() {
    grep '^/etc/init\.d/' "$(about "$1" list)"
}

own_script() {
    [ ! -f "$(about "$1" "$2-pkg")" ] || ( . "$(about "$1" "$2-pkg")" )
}

default_postinst() {
    grep '^/etc/uci-defaults/' "$(about "$1" list)" | while read -r file; do
        [ ! -f "$file" ] || { ( . "$file" ) && rm "$file"; }
    done
    uci commit
    own_script "$1" postinst
    for service in $(services "$1"); do
        [ "${PKG_UPGRADE:-}" = 1 ] || "$service" enable
        "$service" start
    done
}

default_prerm() {
    own_script "$1" prerm
    for service in $(services "$1"); do
        [ "${PKG_UPGRADE:-}" = 1 ] || "$service" disable
        "$service" stop
    done
}
