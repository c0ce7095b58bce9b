"""Installing and removing, as opkg does it: by the package's scripts, in the shell that a router has."""

import subprocess

import pytest

# What the scripts are to find on the router and to call.
FUNCTIONS = """
default_postinst() { echo "postinst pkgname=$(basename ${1%.*}) args=$#" >>"$IPKG_INSTROOT/said"; return 3; }
default_prerm() { echo "prerm pkgname=$(basename ${1%.*}) args=$#" >>"$IPKG_INSTROOT/said"; return 4; }
"""


@pytest.fixture
def root(package, made, tmp_path):
    """A router's files, with the package unpacked in them as opkg leaves it."""
    for path, file in package.data.items():
        target = tmp_path / path
        if file.content is None:
            target.mkdir(exist_ok=True)
        else:
            target.write_bytes(file.content)
    info = tmp_path / "usr/lib/opkg/info"
    info.mkdir(parents=True)
    for path, file in package.control.items():
        if file.content is not None:
            script = info / f"{made}.{path.removeprefix('./')}"
            script.write_bytes(file.content)
            script.chmod(file.mode)
    return tmp_path


@pytest.fixture
def run(root, made):
    def run(script, *arguments, **options):
        return run_script(root, f"{made}.{script}", *arguments, **options)
    return run


def run_script(root, script, *arguments, functions=FUNCTIONS, **env):
    if functions:
        (root / "lib").mkdir(exist_ok=True)
        (root / "lib/functions.sh").write_text(functions)
    done = subprocess.run(["busybox", "ash", root / f"usr/lib/opkg/info/{script}", *arguments],
                          env={"PATH": "/usr/bin:/bin", "IPKG_INSTROOT": str(root), **env}, text=True, capture_output=True)
    said = root / "said"
    return done, said.read_text() if said.exists() else ""


@pytest.mark.parametrize("script, argument, code", [("postinst", "configure", 3), ("prerm", "remove", 4)])
def test_openwrts_own_functions_do_it(run, made, script, argument, code):
    done, said = run(script, argument)
    assert said == f"{script} pkgname={made} args=2\n"
    assert done.returncode == code, "what they answer is handed on"


@pytest.mark.parametrize("script", ["postinst", "prerm"])
def test_without_them_nothing_happens(run, script):
    done, said = run(script, functions=None)
    assert (done.returncode, said, done.stderr) == (0, "", "")


def test_scripts_can_be_switched_off(run):
    done, said = run("postinst", IPKG_NO_SCRIPT="1")
    assert (done.returncode, said) == (0, "")
