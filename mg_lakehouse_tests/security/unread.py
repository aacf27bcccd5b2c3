"""Statements run by the second wall alone: the process that is bound, and nobody who reads what it is given to run.

Statement by statement over a pipe, for some of them end the process; the next one then begins in a new one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Timer
from typing import Final

from mg_lakehouse.location import Location

__all__ = ["Unread", "unread"]

_SECONDS: Final = 20.0
_ROWS: Final = 50


class Unread:
    """The bound process. It is started when it is first needed."""

    def __init__(self, lake: Location, folder: Path) -> None:
        self._lake = lake
        self._folder = folder
        self._running: tuple[subprocess.Popen[bytes], Connection] | None = None
        self.ended: list[str] = []
        """Statements that ended their process."""

    def ask(self, sql: str) -> str:
        """The rows of a statement as text, or what DuckDB said."""
        process, pipe = self._running = self._running or self._start()
        try:
            pipe.send_bytes(sql.encode())
            return pipe.recv_bytes().decode()
        except (EOFError, OSError):
            self.stop()
            self.ended.append(sql)
            return f"the process ended: {process.returncode}"

    def stop(self) -> None:
        """End the process."""
        if self._running is not None:
            process, pipe = self._running
            pipe.close()
            process.kill()
            process.wait()
            self._running = None

    def _start(self) -> tuple[subprocess.Popen[bytes], Connection]:
        from mg_lakehouse.serving.sandbox.start import child_environment, order_for

        order = order_for(self._lake, self._folder)
        ours, theirs = Pipe()
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", __name__, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                cwd=self._folder,
                env=child_environment(os.environ, self._folder, local=self._lake.is_local),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        ours.send_bytes(json.dumps(order).encode())
        assert json.loads(ours.recv_bytes()) is True
        return process, ours


@contextmanager
def unread(lake: Location, folder: Path) -> Iterator[Unread]:
    """A process for statements that nobody reads, with a folder of its own."""
    folder.mkdir()
    running = Unread(lake, folder)
    try:
        yield running
    finally:
        running.stop()


def main() -> None:
    """Run what comes over the pipe as it comes."""
    from mg_lakehouse.serving.sandbox.process import confine

    pipe = Connection(int(sys.argv[1]))
    order = json.loads(pipe.recv_bytes())
    confine(order)
    import duckdb

    from mg_lakehouse.lake.lake import Lake
    from mg_lakehouse.serving.sandbox.answer import opened

    with opened(Lake(order["lake"], resolved=order["resolved"]), [], Path(order["folder"])) as asking:
        pipe.send_bytes(b"true")
        connection = asking._connection
        asking.names()  # shows all tables
        with suppress(EOFError):
            while True:
                sql = pipe.recv_bytes().decode()
                timer = Timer(_SECONDS, connection.interrupt)
                timer.start()
                try:
                    said = repr(connection.execute(sql).fetchmany(_ROWS))
                except (duckdb.Error, RuntimeError, ValueError, TypeError) as error:
                    said = str(error)
                timer.cancel()
                pipe.send_bytes(said.encode(errors="replace"))


if __name__ == "__main__":
    main()
