"""`mg-lakehouse dev` in a folder and on a port of its own, and a browser."""

from __future__ import annotations

import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from playwright.sync_api import Browser, sync_playwright

from mg_lakehouse.testing.addresses import free_ports
from mg_lakehouse_tests.cli.commands import COMMAND, environment
from mg_lakehouse_tests.waiting import wait_until

_READY: Final = "Ctrl-C ends it all."
_CHROMIUM: Final = "/usr/bin/chromium"
_FLAGS: Final = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@dataclass(frozen=True)
class Dev:
    """A running `mg-lakehouse dev`."""

    process: subprocess.Popen[bytes]
    folder: Path
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def said(self) -> str:
        return (self.folder / "said.txt").read_text()

    def log(self) -> str:
        log = self.folder / ".dagster" / "dev.log"
        return log.read_text()[-3_000:] if log.exists() else ""

    def groups(self) -> list[int]:
        """Ids of the process groups that it started: of its children, each of which leads one."""
        tasks = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        return [int(child) for task in tasks for child in task.read_text().split()]

    def interrupt(self) -> int:
        """Ctrl-C; the exit status."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(timeout=240)


@contextmanager
def dev(folder: Path, **variables: str) -> Iterator[Dev]:
    """Start it, wait until it says that it is ready, and end it."""
    (port,) = free_ports(1)
    with (folder / "said.txt").open("wb") as said:
        process = subprocess.Popen(
            [COMMAND, "dev", "--port", str(port), "--bundles-a-minute", "120"],
            cwd=folder,
            env=environment(folder, **variables),
            stdout=said,
            stderr=subprocess.STDOUT,
        )
    running = Dev(process, folder, port)
    try:
        wait_until(lambda: _READY in running.said() or process.poll() is not None, seconds=300)
        assert process.poll() is None, running.said() + running.log()
        yield running
    finally:
        if process.poll() is None:
            running.interrupt()


@contextmanager
def dashboard(folder: Path, lake: str) -> Iterator[str]:
    """Start `mg-lakehouse dashboard` in a folder, wait until it answers, and end it. Gives its address."""
    (port,) = free_ports(1)
    process = subprocess.Popen(
        [COMMAND, "dashboard", "--port", str(port)],
        cwd=folder,
        env=environment(folder, MG_LAKE_URI=lake),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: process.poll() is not None or _answers(url), seconds=240)
        assert process.poll() is None
        yield url
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


def _answers(url: str) -> bool:
    with suppress(urllib.error.URLError, ConnectionError), urllib.request.urlopen(url, timeout=5):
        return True
    return False


@contextmanager
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=_CHROMIUM, args=_FLAGS)
        try:
            yield started
        finally:
            started.close()


def processes_of_group(group: int) -> list[int]:
    """Ids of the living processes of a process group."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found
