# What a package in Rust may set, and `compile` then shows: the command that builds it.

RUST_ARCH_DEPENDS:=@(aarch64||arm||mips||mipsel||x86_64)
RUSTC_TARGET_ARCH:=mips-unknown-linux-musl
CARGO_PKG_PROFILE:=release
CARGO_PKG_VARS=RUSTFLAGS="$(CARGO_RUSTFLAGS)"
CARGO_PKG_ARGS=--locked
TARGET_CXX_NOCACHE:=mips-openwrt-linux-musl-g++
TARGET_AR:=mips-openwrt-linux-musl-gcc-ar
TARGET_CXXFLAGS:=-Os -mcpu=24kc
TOOLCHAIN_ROOT_DIR:=/sdk/toolchain

define Build/Compile
	@echo '$(CARGO_PKG_VARS) cargo install --profile $(CARGO_PKG_PROFILE) --features "$(RUST_PKG_FEATURES)" --path $(MAKE_PATH) $(CARGO_PKG_ARGS)'
endef

# Built already.
define RustBinPackage
  $(if $(BUILT),$(shell mkdir -p $(PKG_INSTALL_DIR)/bin && cp $(BUILT)/* $(PKG_INSTALL_DIR)/bin/))
endef
