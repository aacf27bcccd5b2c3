"""Runs a service in its own process group. The whole group ends with the block."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from mg_lakehouse.errors import ConfigurationError

__all__ = ["require_free", "service"]

_GRACE_SECONDS: Final = 20
_LOOK_SECONDS: Final = 0.2


def require_free(host: str, port: int) -> None:
    """Check that a port is free.

    Raises:
        ConfigurationError: it is taken, or the host is not one of this machine's.
    """
    with socket.socket() as probe:
        # As servers do: a port that a server has just released counts as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ConfigurationError(f"Port {port} of {host} is taken: stop what listens there, or choose another with --port.") from error


@contextmanager
def service(
    command: Sequence[str], *, environment: Mapping[str, str], log: Path, folder: Path | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a service, in ``folder`` if given, with ``environment`` added to the caller's variables; its output goes to ``log``."""
    with (
        log.open("wb") as output,
        subprocess.Popen(
            list(command), cwd=folder, env=os.environ | dict(environment), start_new_session=True, stdout=output, stderr=subprocess.STDOUT
        ) as process,
    ):
        try:
            yield process
        finally:
            _end_group(process)


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """End the whole group, gently at first: its leader may end before its children."""
    for sign in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, sign)
            deadline = time.monotonic() + _GRACE_SECONDS
            while time.monotonic() < deadline:
                process.poll()  # a leader that is not waited for stays in its group as a zombie
                os.killpg(process.pid, 0)
                time.sleep(_LOOK_SECONDS)
        except ProcessLookupError:
            return
