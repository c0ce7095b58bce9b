"""What the tests share: the tools that are built once, and a fresh router for each test."""

import os
import subprocess
from pathlib import Path

import pytest

from router import OPENWRT, Router

HERE = Path(__file__).resolve().parent


def pytest_configure(config):
    if os.geteuid():
        pytest.exit("a router's file system is mounted: run it as root", returncode=2)


def pytest_report_header(config):
    return f"scripts run over {OPENWRT or 'stand-ins for rc.common and procd; TSG_OPENWRT_ROOT names a real tree'}"


@pytest.fixture(scope="session")
def tools():
    return Path(subprocess.run([HERE / "tools"], check=True, stdout=subprocess.PIPE,
                               text=True).stdout.strip())


@pytest.fixture
def router(tools):
    router = Router(tools)
    router.procd_runs()
    yield router
    router.close()
