"""A service in a process group of its own, which ends with the block: whatever it started ends with it."""

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
    """See to it that a port can be listened at.

    Raises:
        ConfigurationError: it is taken, or the host is none of this machine's.
    """
    with socket.socket() as probe:
        # As servers do: a port that a server left a moment ago is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ConfigurationError(f"Port {port} of {host} is taken: end what listens there, or name another one with --port.") from error


@contextmanager
def service(
    command: Sequence[str], *, environment: Mapping[str, str], log: Path, folder: Path | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a service, in a folder where one is given, with these variables beside the caller's; what it prints goes to ``log``."""
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
    """End the whole group, first politely: its leader may be gone before what it started."""
    for sign in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, sign)
            deadline = time.monotonic() + _GRACE_SECONDS
            while time.monotonic() < deadline:
                process.poll()  # a leader that nobody waited for would stay in its group
                os.killpg(process.pid, 0)
                time.sleep(_LOOK_SECONDS)
        except ProcessLookupError:
            return
