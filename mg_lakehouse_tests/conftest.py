"""What all tests share: where their folders are, what their DuckDBs do without, and servers that are started once for a process."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from hypothesis import settings

from mg_lakehouse.lake import duck
from mg_lakehouse.testing.s3 import S3Server
from mg_lakehouse.testing.s3_proxy import FaultProxy

# A shell's background job ignores Ctrl-C, and so would every process that a test starts and interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

_MEMORY: Final = Path("/dev/shm")
_LEAST_BYTES: Final = 6 * 2**30


def _memory_is_usable() -> bool:
    """Whether folders of tests can lie in memory: where there is room for them, and programs may be started from them."""
    if not os.access(_MEMORY, os.W_OK):
        return False
    return shutil.disk_usage(_MEMORY).free >= _LEAST_BYTES and not os.statvfs(_MEMORY).f_flag & os.ST_NOEXEC


# A commit syncs two files and a folder, which takes 8 ms of waiting on a disk: half of the time of many tests, and nothing in memory.
if _memory_is_usable():
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(_MEMORY))


_SIGNED: Final = ("serving", "security", "test_duck.py")
"""Where it is the point what DuckDB lets in."""


@pytest.fixture(scope="module", autouse=True)
def _signatures_elsewhere(request: pytest.FixtureRequest) -> Iterator[None]:
    """Extensions are loaded without a look at their signature, which of the 82 MB of `delta` takes 0.3 s of a core for each DuckDB.

    That they are signed shows `gold/test_duck`, and every process that a test starts.
    """
    options = duck.connection_options
    with pytest.MonkeyPatch.context() as patch:
        if not set(_SIGNED).intersection(request.path.parts):
            patch.setattr(duck, "connection_options", lambda *given: {**options(*given), "allow_unsigned_extensions": "true"})
        yield


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
