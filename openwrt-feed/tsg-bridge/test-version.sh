#!/bin/sh
# OpenWrt's CI runs this where the package has been installed: does the program say the package's version?
case "$PKG_NAME" in
tsg-bridge)
	tsg --version | grep -F "$PKG_VERSION"
	;;
*)
	echo "there is no test for $PKG_NAME" >&2
	exit 1
	;;
esac
