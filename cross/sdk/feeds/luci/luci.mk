# An app or a protocol of LuCI: its folder says what it is called, and its tree where things go. Translations are packages of their own.

PKG_NAME?=$(notdir $(CURDIR))
PKG_RELEASE?=1
LUCI_PKGARCH?=all
LUCI_TYPE:=$(word 2,$(subst -, ,$(PKG_NAME)))
LUCI_BASENAME?=$(patsubst luci-$(LUCI_TYPE)-%,%,$(PKG_NAME))
LUCI_LANGUAGES:=$(filter-out templates,$(notdir $(wildcard $(CURDIR)/po/*)))

# What LuCI calls a language in its own list.
LUCI_LANG.de:=Deutsch (German)
LUCI_LANG.fr:=Français (French)

LUCI_MENU.app:=3. Applications
LUCI_MENU.proto:=5. Protocols

include $(INCLUDE_DIR)/package.mk

define Package/$(PKG_NAME)
  SECTION:=luci
  CATEGORY:=LuCI
  SUBMENU:=$(LUCI_MENU.$(LUCI_TYPE))
  TITLE:=$(LUCI_TITLE)
  DEPENDS:=$(LUCI_DEPENDS)
  URL:=$(LUCI_URL)
  PKGARCH:=$(LUCI_PKGARCH)
endef

define Package/$(PKG_NAME)/description
  $(or $(LUCI_DESCRIPTION),$(LUCI_TITLE))
endef

define Package/$(PKG_NAME)/install
	mkdir -p $(1)/www
	[ ! -d htdocs ] || cp -R htdocs/. $(1)/www/
	[ ! -d root ] || cp -R root/. $(1)/
	chmod -R u=rwX,go=rX $(1)
endef

# A router that runs has the old menu and the old rights in memory.
define Package/$(PKG_NAME)/postinst
[ -z "$${IPKG_INSTROOT}" ] || exit 0
rm -rf /tmp/luci-indexcache.* /tmp/luci-modulecache
/etc/init.d/rpcd reload 2>/dev/null || true
endef

# 1: language
define LuciTranslation
  define Package/luci-i18n-$(LUCI_BASENAME)-$(1)
    SECTION:=luci
    CATEGORY:=LuCI
    TITLE:=$(PKG_NAME) - $(1) translation
    DEPENDS:=$(PKG_NAME)
    PKGARCH:=all
  endef

  define Package/luci-i18n-$(LUCI_BASENAME)-$(1)/description
    Translation for $(PKG_NAME) - $(LUCI_LANG.$(1))
  endef

  define Package/luci-i18n-$(LUCI_BASENAME)-$(1)/install
	mkdir -p $$(1)/etc/uci-defaults $$(1)/usr/lib/lua/luci/i18n
	echo "uci set luci.languages.$(1)='$(LUCI_LANG.$(1))'; uci commit luci" >$$(1)/etc/uci-defaults/luci-i18n-$(LUCI_BASENAME)-$(1)
	$(foreach po,$(wildcard $(CURDIR)/po/$(1)/*.po),$(TOPDIR)/po2lmo $(po) $$(1)/usr/lib/lua/luci/i18n/$(basename $(notdir $(po))).$(1).lmo;)
  endef

  LUCI_BUILD_PACKAGES += luci-i18n-$(LUCI_BASENAME)-$(1)
endef

LUCI_BUILD_PACKAGES:=$(PKG_NAME)
# Without a translation there is no package of it.
$(foreach lang,$(LUCI_LANGUAGES),$(if $(wildcard $(CURDIR)/po/$(lang)/*.po),$(eval $(call LuciTranslation,$(lang)))))
$(foreach package,$(LUCI_BUILD_PACKAGES),$(eval $(call BuildPackage,$(package))))
