# Sums up one package: `$(eval $(call BuildPackage,NAME))`.

PKG_BUILD_DIR?=$(BUILD_DIR)/$(PKG_NAME)-$(PKG_VERSION)
# cargo and `make install` would put programs there.
PKG_INSTALL_DIR:=$(OUT)/installed
VERSION:=$(PKG_VERSION)-r$(PKG_RELEASE)

FIELDS:=TITLE SECTION CATEGORY SUBMENU DEPENDS URL PKGARCH USERID
SCRIPTS:=conffiles preinst postinst prerm postrm

# 1: name of a package. What its `define Package/NAME` sets, and what holds for all packages of the Makefile.
define BuildPackage
  $(foreach field,$(FIELDS),$(eval $(field):=))
  $(eval VERSION:=$(PKG_VERSION)-r$(PKG_RELEASE))
  $(eval $(Package/$(1)))
  $(shell mkdir -p $(OUT)/$(1)/data)
  $(foreach field,$(FIELDS) VERSION PKG_LICENSE PKG_LICENSE_FILES PKG_MAINTAINER PKG_NAME PKG_BUILD_DEPENDS PKG_BUILD_FLAGS,
    $(file >$(OUT)/$(1)/$(field),$(strip $($(field)))))
  $(file >$(OUT)/$(1)/description,$(Package/$(1)/description))
  $(foreach script,$(SCRIPTS),$(if $(Package/$(1)/$(script)),$(file >$(OUT)/$(1)/$(script),$(Package/$(1)/$(script)))))

  compile-$(1):
	$(Build/Compile)

  install-$(1):
	$(call Package/$(1)/install,$(OUT)/$(1)/data)

  .PHONY: compile-$(1) install-$(1)
  compile: compile-$(1)
  install: install-$(1)
endef
