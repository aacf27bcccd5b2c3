"""A consumer in a process of its own, which drains and flattens, and a build of gold in another: killed at a point where the trial says so."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Final

from mg_lakehouse.bronze.account_activity import FileKey, fetch_activity
from mg_lakehouse.bronze.event_feed import drain
from mg_lakehouse.bronze.loaded_files import load_files
from mg_lakehouse.lake import failpoints
from mg_lakehouse.lake.failpoints import Failpoint
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.settings import Settings, load_settings
from mg_lakehouse.silver.rebuild import rebuild
from mg_lakehouse.silver.update import flatten_new
from mg_lakehouse.sources.sqs import open_queue
from mg_lakehouse.sources.web_service import open_web_service

KILLED: Final = -signal.SIGKILL
VISIBILITY: Final = 30
"""Seconds that a consumer hides what it received."""

# Imports take a second and a half; a fork of a server that has them, a few milliseconds.
_forks: Final = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload([__name__])


@dataclass(frozen=True)
class Crash:
    """Where a consumer dies: the `nth` time that it comes to a point about something whose name holds `about`."""

    point: Failpoint
    nth: int = 1
    about: str = ""

    def __str__(self) -> str:
        return f"{self.point}{f'({self.about})' if self.about else ''}#{self.nth}"


def start_consumer(lake: Lake, environment: Mapping[str, str], crash: Crash | None = None) -> BaseProcess:
    process = _forks.Process(target=_consume, args=(lake.root, dict(environment), crash), daemon=True)
    process.start()
    return process


def start_build(lake: Lake, crash: Crash | None = None) -> BaseProcess:
    process = _forks.Process(target=_build, args=(lake.root, crash), daemon=True)
    process.start()
    return process


def _build(root: str, crash: Crash | None) -> None:
    from mg_lakehouse_tests.gold.helpers import run

    if crash is not None:
        failpoints.on_reached(_killer(crash))
    sys.exit(0 if run(Lake(root), tests=()).ok else 1)


def _consume(root: str, environment: dict[str, str], crash: Crash | None) -> None:
    os.environ.update(environment)
    if crash is not None:
        failpoints.on_reached(_killer(crash))
    settings = Settings(
        lake_uri=root, queue_url=environment["MG_QUEUE_URL"], wait_seconds=0, batch_messages=5, receivers=2, visibility_seconds=VISIBILITY
    )
    drain(open_queue(settings), Lake(root), settings)
    flatten_new(Lake(root), slice_bytes=1)


def start_file_work(lake: Lake, work: str, given: str, environment: Mapping[str, str], crash: Crash | None = None) -> BaseProcess:
    """Load files, fetch the daily file ``DAY TYPE``, or make a day anew, in a process of its own. Commits are of one bundle, unless the environment says more."""
    process = _forks.Process(target=_work_on_files, args=(lake.root, work, given, dict(environment), crash), daemon=True)
    process.start()
    return process


def _work_on_files(root: str, work: str, given: str, environment: dict[str, str], crash: Crash | None) -> None:
    os.environ.update({"MG_BATCH_MESSAGES": "1"} | environment)
    if crash is not None:
        failpoints.on_reached(_killer(crash))
    lake, settings = Lake(root), load_settings(dotenv=None)
    if work == "load":
        failures = [each.failure for each in load_files(lake, settings, map(Path, given.split())) if each.failure]
        sys.exit(1 if failures else 0)
    elif work == "fetch":
        day, activity_type = given.split()
        fetch_activity(open_web_service(settings), lake, settings, FileKey(date.fromisoformat(day), activity_type))
    else:
        list(rebuild(lake, [date.fromisoformat(given)]))


class _killer:  # noqa: N801  a function with a counter
    def __init__(self, crash: Crash) -> None:
        self._crash = crash
        self._left = crash.nth

    def __call__(self, point: Failpoint, about: str) -> None:
        if point == self._crash.point and self._crash.about in about:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
