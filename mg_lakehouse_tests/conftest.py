"""Servers that several modules share: each is started once for a test process, where a test asks for it."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
from hypothesis import settings

from mg_lakehouse.testing.s3 import S3Server
from mg_lakehouse.testing.s3_proxy import FaultProxy

# A shell's background job ignores Ctrl-C, and so would every process that a test starts and interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """One for all modules of a process: it starts in 4 s, of which most are its own waiting, and takes nothing while it is idle."""
    with S3Server() as server:
        yield server


@pytest.fixture(scope="module")
def s3_proxy(s3_server: S3Server) -> Iterator[FaultProxy]:
    with FaultProxy(s3_server.endpoint_url) as proxy:
        yield proxy


_HEAVY = ("e2e", "ui", "s3", "slow")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what asks for an S3 server, and put modules with what takes long first: what a worker takes over at the end is then short.

    Modules stay whole, for what each makes for its tests is made once.
    """
    for item in items:
        if "s3_server" in getattr(item, "fixturenames", ()):
            item.add_marker("s3")
    heavy = {item.path for item in items if any(item.get_closest_marker(name) for name in _HEAVY)}
    items.sort(key=lambda item: item.path not in heavy)


# A busy machine is no failure: no test asserts a time.
# The same examples each time: what fails is what changed. `make check-long` goes on to new ones.
settings.register_profile("mg_lakehouse", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None)
settings.load_profile("mg_lakehouse")
