"""The Makefiles of openwrt-feed/, read by the stand-in for OpenWrt's build system in cross/sdk."""

import re
import subprocess

import pytest
from conftest import FEED, FOLDERS, MADE, ROOT, VERSION

# apk's grammar: numbers with dots, a letter, suffixes, a revision. No leading `v`, nothing free-form.
APK_VERSION = re.compile(r"\d+(\.\d+)*[a-z]?(_(alpha|beta|pre|rc|cvs|svn|git|hg|p)\d*)*(-r\d+)?")


def test_versions_are_apks_too(described):
    assert set(FOLDERS) == {"tsg-bridge", "tsg-proto", "luci-app-tsg", "luci-proto-tsg"} <= set(described)
    for name, said in described.items():
        assert APK_VERSION.fullmatch(said["VERSION"]), f"{name}: {said['VERSION']}"
        assert said["VERSION"] == f"{VERSION}-r1"


def test_licences_and_who_looks_after_it(described):
    for name, said in described.items():
        for licence in said["PKG_LICENSE"].split(" AND "):
            assert licence in ("Apache-2.0", "ISC", "MIT", "MPL-2.0"), name
        assert re.fullmatch(r"[^<>]+ <[^<>@ ]+@[^<>@ ]+>", said["PKG_MAINTAINER"]), name
    assert (ROOT / described["tsg-bridge"]["PKG_LICENSE_FILES"]).is_file()


def test_what_the_daemon_asks_for_is_a_dependency(described):
    """Every kernel module that a message of the gateway names comes with the package."""
    named = set()
    for path in (ROOT / "src/tsg-bridge/src").rglob("*.rs"):
        named |= set(re.findall(r"kmod-[a-z0-9-]+", path.read_text()))
    wanted = described["tsg-bridge"]["DEPENDS"].split()
    assert named, "no message names a kernel module"
    # What the iptables attach wants, for kernels without nft_queue, an operator chooses to install. The last comes with
    # kmod-nft-queue.
    chosen = {"kmod-br-netfilter", "kmod-ipt-physdev", "kmod-ipt-nfqueue", "kmod-nfnetlink-queue"}
    assert named - chosen <= {word.lstrip("+") for word in wanted}
    assert all(word.startswith(("+kmod-", "@(")) or word == "+nftables" for word in wanted), wanted
    assert described["luci-app-tsg"]["DEPENDS"] == "+luci-base +tsg-bridge"
    assert described["luci-proto-tsg"]["DEPENDS"] == "+luci-base +tsg-proto"
    assert described["tsg-proto"]["DEPENDS"] .split(None, 1)[1] == "+kmod-tun +resolveip"


def test_it_is_built_as_cross_build_does(made, tmp_path):
    done = subprocess.run(["make", "-s", "-C", FEED / made, f"TOPDIR={ROOT / 'cross/sdk'}", f"OUT={tmp_path}",
                           "compile"], check=True, text=True, stdout=subprocess.PIPE)
    line = done.stdout
    program = {"tsg-bridge": "--bin tsg --no-default-features\n", "tsg-proto": "--bin tsg-tunnel \n"}
    for part in ("--profile router ", "--path src/tsg-bridge ", "--locked ", "-Crelocation-model=static", program[made]):
        assert part in line, line
    assert (ROOT / "src/tsg-bridge/Cargo.toml").is_file() and (ROOT / "Cargo.lock").is_file()


def test_what_is_not_indented_is_not(described):
    makefile = (FEED / "tsg-bridge/Makefile").read_text()
    for script in ("conffiles", "postinst", "prerm"):
        for block in re.findall(rf"^define Package/\S+/{script}\n(.*?)^endef", makefile, re.M | re.S):
            assert not re.search(r"^[ \t]+/", block, re.M), block
    assert described["tsg-bridge"]["conffiles"] == "/etc/config/tsg"
    assert {described[name]["PKG_BUILD_FLAGS"] for name in MADE} == {"no-mips16"}
    for name in FOLDERS:
        wanted = "# call BuildPackage" if name.startswith("luci-") else f"$(eval $(call BuildPackage,{name}))"
        assert wanted in (FEED / name / "Makefile").read_text(), "OpenWrt looks for it by its literal name"


def test_what_is_for_all_processors_says_so(described):
    assert {name for name, said in described.items() if not said["PKGARCH"]} == set(MADE)
    assert described["luci-proto-tsg"]["SUBMENU"] == "5. Protocols"


@pytest.mark.parametrize("version, code", [(VERSION, 0), ("9.9.9", 1)])
def test_the_version_test_of_openwrts_ci(version, code, tmp_path):
    tsg = tmp_path / "tsg"
    tsg.write_text(f"#!/bin/sh\necho 'tsg {VERSION}'\n")
    tsg.chmod(0o755)
    for package, wanted in (("tsg-bridge", code), ("another", 1)):
        done = subprocess.run([FEED / "tsg-bridge/test-version.sh"], capture_output=True,
                              env={"PATH": f"{tmp_path}:/usr/bin:/bin", "PKG_NAME": package, "PKG_VERSION": version})
        assert done.returncode == wanted
