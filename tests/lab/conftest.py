"""What the lab's tests share: the attaches that this kernel offers, and the count of cases."""

import os
from collections import Counter

import pytest

import attaches
from capture import Broken


def pytest_configure(config):
    config.addinivalue_line("markers", "xdist_group(name): stays with one worker")
    if os.geteuid():
        pytest.exit("the lab makes network namespaces: run it as root", returncode=2)


@pytest.hookimpl(tryfirst=True)  # Before xdist looks for the marks.
def pytest_collection_modifyitems(items):
    # Tests that share a plant share a worker.
    for item in items:
        if "plant" in item.fixturenames:
            group = f"{item.path.stem}-{item.callspec.params['attach']}"
            item.add_marker(pytest.mark.xdist_group(group))


def pytest_generate_tests(metafunc):
    """Every attach; and where a module says STANDALONE, the ingress attach on ports that are in no bridge."""
    if "attach" in metafunc.fixturenames:
        more = ("standalone",) if getattr(metafunc.module, "STANDALONE", False) else ()
        metafunc.parametrize("attach", (*attaches.NAMES, *more), indirect=True, scope="module")


@pytest.fixture(scope="module")
def attach(request):
    """How the gateways get at packets: every way that this kernel offers, in turn."""
    reason = attaches.offered()[request.param]
    if reason is not None:
        pytest.skip(f"attach {request.param}: this kernel has it not: {reason}")
    return request.param


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failed test on a plant that others share shows the end of every daemon's log; and who runs the tests hears of a
    promise that was broken."""
    report = (yield).get_result()
    if call.excinfo and call.excinfo.errisinstance(Broken) and (file := os.environ.get("TSG_LAB_BROKEN")):
        with open(file, "a") as broken:
            broken.write(f"{item.nodeid}\n")
    plant = item.funcargs.get("plant")
    if report.failed and report.when == "call" and hasattr(plant, "logs"):
        report.sections.append(("daemons", plant.logs()))


@pytest.fixture
def cases(record_property):
    """Counts what a test tried beyond itself: call it with the number of cases."""
    return lambda number: record_property("cases", number)


def pytest_terminal_summary(terminalreporter):
    tests, cases = Counter(), Counter()
    for outcome in ("passed", "failed"):
        for report in terminalreporter.stats.get(outcome, []):
            file = report.nodeid.split("::")[0].rsplit("/", 1)[-1]
            tests[file] += 1
            cases[file] += sum(value for name, value in report.user_properties if name == "cases")
    for file, number in sorted(tests.items()):
        terminalreporter.write_line(f"{file}: {number} tests ran, {cases[file]} cases")
