"""A deployment of Dagster: a code server and the daemon as processes of their own, in a home of their own, killed and started again."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

import dagster as dg

from mg_lakehouse.lake.lake import Lake
from mg_lakehouse_tests.cli.commands import environment
from mg_lakehouse_tests.dagster.homes import PACKAGED
from mg_lakehouse_tests.standins.addresses import free_ports
from mg_lakehouse_tests.standins.sqs import SqsStandIn
from mg_lakehouse_tests.waiting import wait_until

_START_SECONDS: Final = 10
"""In which a code server answers."""

_WORKSPACE: Final = """
load_from:
  - grpc_server: {{host: 127.0.0.1, port: {port}, location_name: mg_lakehouse}}
"""


class Deployment:
    """A code server, which starts the runs, and the daemon, which has it start them."""

    def __init__(self, folder: Path, sqs: SqsStandIn, *, config: str = PACKAGED, variables: Mapping[str, str]) -> None:
        (self._port,) = free_ports(1)
        self.folder, self.lake = folder, Lake(str(folder / "lake"))
        self.home = folder / "home"
        self.home.mkdir()
        (self.home / "dagster.yaml").write_text(config)
        (folder / "workspace.yaml").write_text(_WORKSPACE.format(port=self._port))
        self.environment = environment(
            folder, **sqs.environment, MG_LAKE_URI=self.lake.root, DAGSTER_HOME=str(self.home), DAGSTER_DISABLE_TELEMETRY="1", **variables
        )
        self.slowness = 1.0
        """How many times slower than a machine with nothing else to do this one starts a process of ours."""
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._stack = ExitStack()
        self.instance = self._stack.enter_context(dg.DagsterInstance.from_config(str(self.home)))

    def start(self) -> None:
        """Start what does not run."""
        if "code" not in self._processes:
            self._start("code", "dagster", "api", "grpc", "-m", "mg_lakehouse.definitions", "-h", "127.0.0.1", "-p", str(self._port))
            begun = time.monotonic()
            wait_until(self._answers, seconds=240)
            self.slowness = max(self.slowness, (time.monotonic() - begun) / _START_SECONDS)
        if "daemon" not in self._processes:
            self._start("daemon", "dagster._daemon", "run", "-w", str(self.folder / "workspace.yaml"))

    def kill(self, *names: str) -> None:
        """Kill processes with all that they started."""
        for name in names:
            process = self._processes.pop(name)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(60)

    def kill_workers(self) -> None:
        """Kill the processes of the runs, and nothing else."""
        for worker in self.workers():
            os.kill(worker, signal.SIGKILL)

    def workers(self) -> list[int]:
        """Ids of the processes of the runs: the children of the code server that are no tracker of its own."""
        return [
            child
            for task in Path(f"/proc/{self._processes['code'].pid}/task").glob("*/children")
            for child in map(int, task.read_text().split())
            if b"spawn_main" in _command(child)
        ]

    def log(self) -> str:
        """The end of what the processes printed."""
        return "\n".join(path.read_text()[-3_000:] for path in sorted(self.folder.glob("*.log")))

    def end(self) -> None:
        self.kill(*self._processes)
        self._stack.close()

    def _start(self, name: str, module: str, *arguments: str) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                cwd=self.folder,
                env=self.environment,
                start_new_session=True,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def _answers(self) -> bool:
        assert self._processes["code"].poll() is None, self.log()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self._port)) == 0


def _command(process: int) -> bytes:
    with suppress(OSError):
        return Path(f"/proc/{process}/cmdline").read_bytes()
    return b""


@contextmanager
def deployed(folder: Path, sqs: SqsStandIn, *, config: str = PACKAGED, **variables: str) -> Iterator[Deployment]:
    """Have a deployment run within."""
    deployment = Deployment(folder, sqs, config=config, variables=variables)
    try:
        deployment.start()
        yield deployment
    finally:
        deployment.end()
