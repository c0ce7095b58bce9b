"""What the lab's tests share: the attaches that this kernel offers, and the count of cases."""

import os
from collections import Counter

import pytest

import attaches

_cases = Counter()


def pytest_configure():
    if os.geteuid():
        pytest.exit("the lab makes network namespaces: run it as root", returncode=2)


@pytest.fixture(scope="module", params=attaches.NAMES)
def attach(request):
    """How the gateways get at packets: every way that this kernel offers, in turn."""
    reason = attaches.offered()[request.param]
    if reason is not None:
        pytest.skip(f"attach {request.param}: this kernel has it not: {reason}")
    return request.param


@pytest.fixture
def cases(request):
    """Counts what a test tries beyond itself: call it with the number of cases."""
    def add(number):
        _cases[request.node.path.name] += number
    return add


def pytest_terminal_summary(terminalreporter):
    tests = Counter()
    for outcome in ("passed", "failed"):
        for report in terminalreporter.stats.get(outcome, []):
            tests[report.nodeid.split("::")[0].rsplit("/", 1)[-1]] += 1
    for file, number in sorted(tests.items()):
        terminalreporter.write_line(f"{file}: {number} tests ran, {_cases[file] or number} cases")
