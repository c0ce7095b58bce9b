"""The packages, unpacked and looked at."""

import gzip
import hashlib
import os
import shutil
import subprocess

import ipk
import pytest
import sizes
from conftest import MADE, PACKAGES, ROOT, TARGETS, VERSION, Package, members
from elf import Elf
from kinds import KINDS, kind


def in_git(folder):
    """Path and mode of each file of a folder, as git has them."""
    listed = subprocess.run(["git", "ls-files", "--stage", "-z", folder], cwd=ROOT, check=True, text=True,
                            stdout=subprocess.PIPE).stdout
    entries = [entry.split("\t") for entry in listed.split("\0") if entry]
    return {path.removeprefix(folder): 0o755 if about.startswith("100755") else 0o644 for about, path in entries}


def test_the_outside_is_as_opkg_wants_it(package, made):
    assert list(package.outer) == ["./debian-binary", "./data.tar.gz", "./control.tar.gz"]
    assert package.outer["./debian-binary"].content == b"2.0\n"
    assert list(package.control) == sorted(package.control)
    assert list(package.data) == sorted(package.data)
    assert package.path.name == f"{made}_{VERSION}-r1_{package.fields()['Architecture']}.ipk"


def test_what_is_in_files_is_installed_and_nothing_else(package, made):
    _, place, source = MADE[made]
    wanted = in_git(source)
    for path in wanted:
        if path.startswith("/etc/config/"):
            wanted[path] = 0o600
    wanted[place] = 0o755
    assert package.files() == wanted
    folders = {path for path, file in package.data.items() if file.content is None}
    assert {package.data[path].mode for path in folders} == {0o755}
    # No folder is there for nothing.
    assert all(any(path.startswith(f"{folder}/") for path in package.data) for folder in folders)
    for path in wanted:
        if path != place:
            assert package.data[f".{path}"].content == (ROOT / f"{source}{path}").read_bytes()


def test_the_program_is_for_that_processor(package, made, name):
    program, place, _ = MADE[made]
    content = package.data[f".{place}"].content
    assert content == (ROOT / "target/cross" / name / program).read_bytes()
    elf = Elf(content)
    assert kind(elf) == KINDS[name]
    assert (elf.needed(), elf.interpreter(), elf.sections()) == ([], None, [])


def test_no_file_is_in_two_packages(bridge, proto):
    """A router may have one of them or both."""
    assert not set(bridge.files()) & set(proto.files())


def test_it_says_what_it_is(package, made, name):
    fields = package.fields()
    size = int(fields.pop("Installed-Size"))
    assert size == len(gzip.decompress(package.outer["./data.tar.gz"].content))
    assert int(fields.pop("SourceDateEpoch")) > 1_700_000_000
    assert list(fields) == ["Package", "Version", "Depends", "Source", "SourceName", "License", "LicenseFiles", "Section",
                            "URL", "Maintainer", "Architecture", "Description"]
    assert fields["Package"] == fields["SourceName"] == made
    assert fields["Version"] == f"{VERSION}-r1"
    assert fields["Architecture"] == TARGETS[name][1]
    assert fields["License"] == "Apache-2.0 AND ISC AND MIT"
    # Kernel modules, and the program that loads rules or asks for names: no library, and neither needs the other.
    needed = {"tsg-bridge": ["nftables"], "tsg-proto": ["resolveip"]}
    assert [word for word in fields["Depends"].split(", ") if not word.startswith("kmod-")] == needed[made]


def test_what_the_operator_changes_is_kept(bridge):
    assert bridge.control["./conffiles"].content == b"/etc/config/tsg\n"
    assert {path: file.mode for path, file in bridge.control.items()} == {
        ".": 0o755, "./conffiles": 0o644, "./control": 0o644, "./postinst": 0o755, "./prerm": 0o755, "./prerm-pkg": 0o755}


def test_what_is_removed_clears_up_first(bridge):
    assert bridge.control["./prerm-pkg"].content.endswith(b"/etc/init.d/tsg clear\n")


def test_luci_is_for_all_processors(luci):
    fields = luci.fields()
    assert fields["Architecture"] == "all"
    assert fields["Depends"] == f"luci-base, {'tsg-bridge' if fields['Package'] == 'luci-app-tsg' else 'tsg-proto'}"
    assert fields["Version"] == f"{VERSION}-r1"
    places = {"/htdocs/": "/www/", "/root/": "/"}
    tree = in_git(fields["Package"])
    wanted = {place + path.removeprefix(start): mode for path, mode in tree.items()
              for start, place in places.items() if path.startswith(start)}
    assert luci.files() == wanted
    assert set(luci.control) == {".", "./control", "./postinst", "./postinst-pkg", "./prerm"}


def test_a_protocol_is_what_netifd_calls(proto):
    assert proto.files() == {"/lib/netifd/proto/tsg.sh": 0o755, "/lib/upgrade/keep.d/tsg-proto": 0o644,
                             "/usr/libexec/tsg/tunnel": 0o755}
    script = proto.data["./lib/netifd/proto/tsg.sh"].content.decode().splitlines()
    assert "PROG=/usr/libexec/tsg/tunnel" in script
    assert set(proto.control) == {".", "./control", "./postinst", "./prerm"}, "nothing of the operator's is in it"


def test_each_translation_is_a_package():
    """None is called as another one's."""
    wanted = {(f"luci-i18n-{path.stem}-{path.parent.name}", f"/usr/lib/lua/luci/i18n/{path.stem}.{path.parent.name}.lmo")
              for folder in ("luci-app-tsg", "luci-proto-tsg") for path in (ROOT / folder / "po").glob("*/*.po")}
    made = [Package(path) for path in (PACKAGES / "all").glob("luci-i18n-*.ipk")]
    assert {(one.fields()["Package"], file) for one in made for file in one.files() if file.endswith(".lmo")} == wanted
    assert len(wanted) == len(made) == 4


@pytest.mark.parametrize("folder", sorted(path for path in PACKAGES.glob("*") if path.is_dir()), ids=lambda path: path.name)
def test_the_index_is_of_these_files(folder):
    text = (folder / "Packages").read_text()
    assert gzip.decompress((folder / "Packages.gz").read_bytes()).decode() == text
    assert text.endswith("\n\n")
    found = set()
    for entry in text.removesuffix("\n\n").split("\n\n"):
        fields = dict(line.split(": ", 1) for line in entry.splitlines() if not line.startswith(" "))
        content = (folder / fields["Filename"]).read_bytes()
        assert int(fields["Size"]) == len(content)
        assert fields["SHA256sum"] == hashlib.sha256(content).hexdigest()
        assert fields["MD5Sum"] == hashlib.md5(content).hexdigest()
        # All that the package says of itself, in its order.
        said = entry.split("Filename: ")[0] + "Description: " + entry.split("\nDescription: ")[1]
        assert said + "\n" == ipk.control(content)
        found.add(fields["Filename"])
    assert found == {path.name for path in folder.glob("*.ipk")}


def test_the_same_goes_in_the_same_comes_out(package, name, tmp_path):
    """At another time, with another umask, from other copies of the same files."""
    before = package.path.read_bytes()
    copy = tmp_path / "copy"
    for part in ("cross", "openwrt-feed", "luci-app-tsg", "luci-proto-tsg", "files", "Cargo.toml", f"target/cross/{name}"):
        target = copy / part
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, target, symlinks=True, copy_function=shutil.copy,
                            ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / part, target)
    env = {**os.environ, "SOURCE_DATE_EPOCH": package.fields()["SourceDateEpoch"], "TZ": "Asia/Tokyo", "LC_ALL": "C"}
    subprocess.run(["sh", "-c", 'umask 077 && exec "$@"', "sh", copy / "cross/package", name], env=env, check=True,
                   stdout=subprocess.DEVNULL)
    again = copy / "target/packages" / package.path.relative_to(PACKAGES)
    assert again.read_bytes() == before


def test_a_package_that_is_too_large_is_told(package, made, name, capsys):
    row = sizes.Row(made, TARGETS[name][1], package.path, None, None)
    assert not sizes.complain([row]), "larger than routers have room for"
    assert sizes.complain([row], {made: package.path.stat().st_size - 1})
    assert "TOO LARGE" in capsys.readouterr().out


def test_the_parts_add_up_to_the_program(made, name):
    symbols = (ROOT / "target/cross" / name / f"{MADE[made].program}.symbols").read_bytes()
    loaded = sum(section.size for section in Elf(symbols).sections()
                 if section.flags & 2 and section.kind != 8)
    parts = dict(sizes.made_of(symbols))
    assert {"TSG", "libsodium", "Rust's std"} <= set(parts)
    assert 0.9 * loaded < sum(parts.values()) < 1.05 * loaded


def test_members_refuses_what_is_not_roots(tmp_path):
    """The look at the packages has teeth."""
    tar = tmp_path / "some.tar.gz"
    (tmp_path / "file").touch()
    subprocess.run(["tar", "-C", tmp_path, "--owner=1000", "-czf", tar, "./file"], check=True)
    with pytest.raises(AssertionError):
        members(tar.read_bytes())


def test_the_works_of_others_are_named_with_their_licences():
    text = (PACKAGES / "NOTICES").read_text()
    listed = dict(line.removeprefix("* ").split(": ", 1) for line in text.splitlines() if line.startswith("* "))
    names = {work.split()[0] for work in listed}
    assert {"musl", "libsodium", "nix", "rmp-serde", "ubus-zero"} <= names
    assert not names & {"serde_derive", "syn"}, "these only build"
    for holder in ("Rich Felker", "Frank Denis", "nix-rust Authors"):
        assert holder in text, f"a text of {holder}'s is missing"
    for work, about in listed.items():
        assert "Apache-2.0" in about or f"{'-' * 80}\n{work}\n" in text, f"{work}: {about}"
