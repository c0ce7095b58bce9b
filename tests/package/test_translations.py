"""Translations as LuCI reads them: what LuCI's own po2lmo makes of the same file was written down here."""

import subprocess

from conftest import ROOT

PO = r'''msgid ""
msgstr ""
"Language: de\n"
"Plural-Forms: nplurals=2; plural=n != 1;\n"

#: view/tsg/status.js:1
msgid "Sealed"
msgstr "Verschlüsselt"

#, fuzzy
msgid "same"
msgstr "same"

msgctxt "link"
msgid "Up \"now\"\n"
msgstr "Jetzt \"oben\" \\ \n"

msgid "%d packet"
msgid_plural "%d packets"
msgstr[0] "%d Paket"
msgstr[1] "%d Pakete"

msgid "not yet"
msgstr ""

msgid ""
"in two "
"lines"
msgstr ""
"in zwei "
"Zeilen"
'''
LMO = bytes.fromhex(
    "6e706c7572616c733d323b20706c7572616c3d6e20213d20313b00005665727363686cc3bc7373656c7400004a65747a7420226f62656e22"
    "205c205c6e00000025642050616b657425642050616b657465000000696e207a776569205a65696c656e0000000000000000000000000000"
    "0000001a02fac11500000002000000480000000903099497000000010000002c00000011738742a600000001000000540000000ea26a3855"
    "000000010000001c0000000ecfa7f55400000002000000400000000800000064")


def test_it_is_as_luci_makes_it(tmp_path):
    (tmp_path / "tsg.po").write_text(PO)
    subprocess.run([ROOT / "cross/sdk/po2lmo", tmp_path / "tsg.po", tmp_path / "tsg.lmo"], check=True)
    assert (tmp_path / "tsg.lmo").read_bytes() == LMO


def test_every_translation_can_be_compiled(tmp_path):
    paths = [path for folder in ("luci-app-tsg", "luci-proto-tsg") for path in (ROOT / folder / "po").glob("*/*.po")]
    assert len(paths) == 4
    for path in paths:
        subprocess.run([ROOT / "cross/sdk/po2lmo", path, tmp_path / "some.lmo"], check=True)
        assert (tmp_path / "some.lmo").stat().st_size > 100, path
