# SPDX-License-Identifier: Apache-2.0
#
# What the packages with a program of the crate tsg-bridge have in common. Before it is included, TSG_PROGRAM is the program's name
# and TSG_OPTIONS what cargo is told about it: the same as in cross/build.

# The checkout that this feed is part of: its source is what is built.
TSG_SOURCE:=$(abspath $(CURDIR)/../..)

PKG_VERSION:=$(shell sed -n '/^version = /{s/.*"\(.*\)"/\1/p;q}' $(TSG_SOURCE)/Cargo.toml)
PKG_RELEASE:=1

PKG_MAINTAINER:=The TSG developers <tsg@example.org>
# Parts of the program: libsodium is ISC, musl and some crates are MIT; all their texts are in NOTICES.
PKG_LICENSE:=Apache-2.0 AND ISC AND MIT
PKG_LICENSE_FILES:=LICENSE

PKG_BUILD_DEPENDS:=rust/host
PKG_BUILD_PARALLEL:=1
# libsodium's arithmetic in MIPS16 would be too slow.
PKG_BUILD_FLAGS:=no-mips16

include $(INCLUDE_DIR)/package.mk
include $(TOPDIR)/feeds/packages/lang/rust/rust-package.mk

# The feed's settings for `release` make it small and slow; `router` in Cargo.toml says what is to be fast.
CARGO_PKG_PROFILE:=router
CARGO_PKG_ARGS+= --bin $(TSG_PROGRAM) $(TSG_OPTIONS)
MAKE_PATH:=src/tsg-bridge
# As in cross/build: docs/building.md says why.
CARGO_RUSTFLAGS+=$(if $(filter mips%,$(ARCH)),-Crelocation-model=static)

define Build/Prepare
	mkdir -p $(PKG_BUILD_DIR)
	$(TAR) -C $(TSG_SOURCE) --exclude=./.git --exclude=./target -cf - . | $(TAR) -C $(PKG_BUILD_DIR) -xf -
endef

# 1: a folder, whose files go onto the router path by path; 2: where to. The folder that a file is in says which mode it gets.
TSG_EXECUTABLE:=etc/init.d/% etc/uci-defaults/% lib/netifd/proto/% usr/bin/% usr/sbin/% usr/libexec/%
TSG_MODE=$(if $(filter etc/config/%,$(1)),$(INSTALL_CONF),$(if $(filter $(TSG_EXECUTABLE),$(1)),$(INSTALL_BIN),$(INSTALL_DATA)))
TSG_FILES=$(shell cd $(1) && find * -type f | LC_ALL=C sort)
define TSG_INSTALL
	$(INSTALL_DIR) $(addprefix $(2)/,$(sort $(dir $(call TSG_FILES,$(1)))))
	$(foreach file,$(call TSG_FILES,$(1)),$(call TSG_MODE,$(file)) $(1)/$(file) $(2)/$(file) &&) true
endef
