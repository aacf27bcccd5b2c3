"""``make dev``: the Dagster UI on an embedded queue that a steady trickle of events fills."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from importlib.resources import files
from pathlib import Path
from typing import Final

from rich.console import Console

from mg_lakehouse.demo.queue import EmbeddedQueue, trickle
from mg_lakehouse.settings import Settings
from mg_lakehouse.stores.lake import Lake

__all__ = ["dagster_home", "run_dev"]

_HOST: Final = "127.0.0.1"
_GRACE_SECONDS: Final = 20


def run_dev(settings: Settings, out: Console, *, port: int, bundles_a_minute: float) -> int:
    """Run the UI until it ends or is interrupted. Returns its exit status, 0 after an interrupt.

    Raises:
        ConfigurationError: the embedded queue is not installed.
    """
    home = dagster_home()
    stop = threading.Event()
    with EmbeddedQueue() as queue:
        feeder = threading.Thread(target=trickle, args=(queue, stop), kwargs={"bundles_a_minute": bundles_a_minute}, daemon=True)
        feeder.start()
        out.print(
            f"Dagster UI: http://{_HOST}:{port}   lake: {Lake(settings.lake_uri).root}   runs: {home}", highlight=False, soft_wrap=True
        )
        out.print("The sensor starts an ingest every half minute; gold follows. Ctrl-C ends it all.")
        environment = {
            **os.environ,
            **queue.environment,
            "MG_LAKE_URI": Lake(settings.lake_uri).root,
            "DAGSTER_HOME": str(home),
            "DAGSTER_DISABLE_TELEMETRY": "1",
        }
        try:
            return _serve(environment, port)
        finally:
            stop.set()
            feeder.join()


def dagster_home() -> Path:
    """Folder of Dagster's runs and events: ``DAGSTER_HOME``, else ``.dagster`` here. Its ``dagster.yaml`` is made where it is missing."""
    home = Path(os.environ.get("DAGSTER_HOME") or ".dagster").absolute()
    home.mkdir(parents=True, exist_ok=True)
    config = home / "dagster.yaml"
    if not config.exists():
        config.write_text(files("mg_lakehouse").joinpath("dagster.yaml").read_text())
    return home


def _serve(environment: dict[str, str], port: int) -> int:
    command = [sys.executable, "-m", "dagster", "dev", "-m", "mg_lakehouse.definitions", "-h", _HOST, "-p", str(port)]
    # A group of its own: `dagster dev` starts a daemon, a code server and a web server, and all must end.
    with subprocess.Popen(command, env=environment, start_new_session=True) as server:
        previous = signal.signal(signal.SIGTERM, _interrupt)
        try:
            return server.wait()
        except KeyboardInterrupt:
            return 0
        finally:
            signal.signal(signal.SIGTERM, previous)
            _end(server)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _end(server: subprocess.Popen[bytes]) -> None:
    """End the whole group, first politely."""
    for sign in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(server.pid, sign)
            server.wait(timeout=_GRACE_SECONDS)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue
        else:
            return
