# As much of OpenWrt's build system as the Makefiles in openwrt-feed/ use, so that cross/package and tests/package can work with
# them where there is no SDK: what a package is called, says and installs is written there alone. Nothing is compiled here.
#
#   make -C openwrt-feed/tsg-bridge TOPDIR=$PWD/cross/sdk OUT=/tmp/out describe install BUILT=/folder/with/tsg
#
# OUT    gets a folder for each package: a file for each of its fields, and in `data` what it installs
# BUILT  the folder with the programs that cross/build has made

ARCH:=mips
ifeq ($(and $(TOPDIR),$(OUT)),)
  $(error TOPDIR and OUT are not set: see cross/sdk/rules.mk)
endif

INCLUDE_DIR:=$(TOPDIR)/include
BUILD_DIR:=$(OUT)/build

INSTALL_DIR:=install -d -m 0755
INSTALL_BIN:=install -m 0755
INSTALL_DATA:=install -m 0644
INSTALL_CONF:=install -m 0600
CP:=cp -fpR
TAR:=tar

.DEFAULT_GOAL:=describe
.PHONY: describe compile install
describe compile install:
