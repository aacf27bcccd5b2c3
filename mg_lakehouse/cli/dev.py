"""``make dev``: the Dagster UI on an emulated queue that a steady trickle of events fills, and daily files of the week before."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Final

import dagster as dg
from rich.text import Text

from mg_lakehouse._util.console import TextConsole
from mg_lakehouse._util.signals import handling
from mg_lakehouse.dagster.liveness import missing_monitoring
from mg_lakehouse.errors import PermanentError
from mg_lakehouse.gold.project import ensure_manifest
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.serving.services import require_free, service
from mg_lakehouse.settings import Settings
from mg_lakehouse.testing.feed.feed import FeedPlan, generate
from mg_lakehouse.testing.feed.trickle import trickle
from mg_lakehouse.testing.sqs import SqsEmulator
from mg_lakehouse.testing.web_service import ActivityApi, daily_files

__all__ = ["dagster_home", "run_dev"]

_HOST: Final = "127.0.0.1"
_START_SECONDS: Final = 180
_POLL_SECONDS: Final = 0.2
_LOG: Final = "dev.log"
_FILED_EVENTS: Final = 5_000


def run_dev(settings: Settings, out: TextConsole, *, port: int, bundles_a_minute: float) -> None:
    """Run the UI until it is interrupted; then everything that it started has ended.

    Raises:
        ConfigurationError: the port is taken.
        PermanentError: the UI ended by itself.
    """
    require_free(_HOST, port)
    # Here, where it can fail in one sentence, rather than in a process of Dagster's.
    ensure_manifest(settings)
    home = dagster_home()
    _tell_what_lacks(home, out)
    log = home / _LOG
    with SqsEmulator() as queue, _trickling(queue, bundles_a_minute), _last_weeks_files() as api:
        environment = {
            **queue.environment,
            **api.environment,
            "MG_LAKE_URI": Lake(settings.lake_uri).root,
            "DAGSTER_HOME": str(home),
            "DAGSTER_DISABLE_TELEMETRY": "1",
        }
        with _interruptible(), _dagster(environment, port, log) as server:
            url = f"http://{_HOST}:{port}"
            with out.status(Text(f"Dagster starts; its log is {log} ...")):
                _await_answer(server, url, log)
            out.print(f"Dagster UI: {url}", highlight=False, soft_wrap=True)
            out.print(f"Lake: {Lake(settings.lake_uri).root}   runs and log: {home}", highlight=False, soft_wrap=True)
            out.print(
                "The sensor starts an ingest every half minute, and gold follows; last week's daily files are there to be fetched. Ctrl-C ends it all.",
                highlight=False,
                soft_wrap=True,
            )
            status = server.wait()
            raise PermanentError(f"Dagster ended by itself with status {status}: see {log}.")


def _last_weeks_files() -> ActivityApi:
    """The emulator of the AccountActivity API, with a feed of its own: what no queue brought."""
    now = datetime.now(UTC)
    plan = FeedPlan(seed=secrets.randbits(32), events=_FILED_EVENTS, start=now - timedelta(days=8), end=now)
    return ActivityApi(daily_files(generate(plan)))


def dagster_home() -> Path:
    """Folder of Dagster's runs and events: ``DAGSTER_HOME``, else ``.dagster`` here. Its ``dagster.yaml`` is made where it is missing."""
    home = Path(os.environ.get("DAGSTER_HOME") or ".dagster").absolute()
    home.mkdir(parents=True, exist_ok=True)
    config = home / "dagster.yaml"
    if not config.exists():
        config.write_text(files("mg_lakehouse").joinpath("dagster.yaml").read_text())
    return home


def _tell_what_lacks(home: Path, out: TextConsole) -> None:
    """A ``dagster.yaml`` that was copied before is never written over."""
    with dg.DagsterInstance.from_config(str(home)) as instance:
        if (lacking := missing_monitoring(instance)) is not None:
            out.print(lacking, highlight=False, soft_wrap=True)


@contextmanager
def _trickling(queue: SqsEmulator, bundles_a_minute: float) -> Iterator[None]:
    stop = threading.Event()
    feeder = threading.Thread(target=trickle, args=(queue, stop), kwargs={"bundles_a_minute": bundles_a_minute}, daemon=True)
    feeder.start()
    try:
        yield
    finally:
        stop.set()
        feeder.join()


@contextmanager
def _interruptible() -> Iterator[None]:
    """Within, SIGINT and SIGTERM end the block quietly, even where a shell had us started with SIGINT ignored."""
    with suppress(KeyboardInterrupt), handling(signal.default_int_handler, signal.SIGINT, signal.SIGTERM):
        yield


def _dagster(environment: Mapping[str, str], port: int, log: Path) -> AbstractContextManager[subprocess.Popen[bytes]]:
    """`dagster dev`, which starts a daemon, a code server, a UI and runs; all of it ends with the block."""
    command = [sys.executable, "-m", "dagster", "dev", "-m", "mg_lakehouse.definitions", "-h", _HOST, "-p", str(port)]
    return service(command, environment=environment, log=log)


def _await_answer(server: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while server.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{url}/server_info", timeout=5):  # noqa: S310  our own address
                return
        except (urllib.error.URLError, OSError):
            time.sleep(_POLL_SECONDS)
    raise PermanentError(f"Dagster did not start: see {log}.")
