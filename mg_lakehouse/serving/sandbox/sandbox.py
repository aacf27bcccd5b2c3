"""Ad hoc SQL over the lake: only queries, and only of the lake's tables.

Each lake is opened in its own process (:mod:`mg_lakehouse.serving.sandbox.process`, started by :mod:`mg_lakehouse.serving.sandbox.start`).
Rows come back over a pipe; whatever a query does to its process ends there. All SQL over the lake goes through :func:`ad_hoc`. This module
imports nothing large, so the process starts while its caller still imports.
"""

from __future__ import annotations

import json
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from multiprocessing.connection import Connection
from types import FrameType
from typing import TYPE_CHECKING, Any

from mg_lakehouse._util.signals import handling
from mg_lakehouse.errors import PermanentError, QueryError, TransientError
from mg_lakehouse.location import Location
from mg_lakehouse.serving.sandbox.process import BATCH, ERROR
from mg_lakehouse.serving.sandbox.start import started

if TYPE_CHECKING:
    import pyarrow as pa

    from mg_lakehouse.settings import Settings

__all__ = ["AdHoc", "QueryError", "ad_hoc"]

_ENDING_SECONDS = 5
_STOP_SECONDS = 0.2
_ERRORS = {kind.__name__: kind for kind in (QueryError, PermanentError, TransientError)}


class AdHoc:
    """A client of the process that runs queries. For one thread at a time; another may :meth:`interrupt`."""

    def __init__(self, pipe: Connection, process: subprocess.Popen[bytes]) -> None:
        self._pipe = pipe
        self._process = process
        self._answering = True  # its first answer says that the lake is open

    def wait_until_open(self) -> None:
        """Wait until the process accepts queries.

        Raises:
            PermanentError, TransientError: the lake cannot be read.
        """
        self._receive()

    def rows(self, sql: str) -> pa.RecordBatchReader:
        """Run statements, and return the rows of the last one, batch by batch. They must be read before the next statement.

        Raises:
            QueryError: a statement is not a query, or is invalid; or the last one has no rows.
        """
        import pyarrow as pa  # noqa: PLC0415

        self._ask("rows", sql=sql)
        with pa.ipc.open_stream(self._receive()[1]) as first:
            schema = first.schema

        def batches() -> Iterator[pa.RecordBatch]:
            while (frame := self._receive())[0] == BATCH:
                with pa.ipc.open_stream(frame[1]) as stream:
                    yield from stream

        return pa.RecordBatchReader.from_batches(schema, batches())

    def show(self, sql: str, *, max_width: int, max_rows: int) -> None:
        """Run statements and print the first rows of the last one as a table, ``max_width`` characters wide at most.

        Raises:
            QueryError: as for :meth:`rows`.
        """
        self._ask("shown", sql=sql, max_width=max_width, max_rows=max_rows)
        table, more = json.loads(self._receive()[1])
        print(table, end="")  # noqa: T201  the table is the output
        if more:
            print(f"These are the first {max_rows} rows: --format csv or --output writes all.")  # noqa: T201  it belongs to the table

    def names(self) -> list[str]:
        """Return the names of views, columns and macros, for completion."""
        self._ask("names")
        return [str(name) for name in json.loads(self._receive()[1])]

    def interrupt(self) -> None:
        """Stop the running statement."""
        self._send({"ask": "stop"})

    def _ask(self, what: str, **how: object) -> None:
        while self._answering:
            # Repeated until it takes effect: before the statement begins there is nothing to stop.
            self.interrupt()
            if self._pipe.poll(_STOP_SECONDS):
                self._frame()
        with _whole():
            self._send({"ask": what, **how})
            self._answering = True

    def _receive(self) -> tuple[bytes, bytes]:
        """Receive the next frame of an answer.

        Raises:
            QueryError, PermanentError, TransientError: the other side raised.
        """
        kind, content = self._frame()
        if kind == ERROR:
            error = json.loads(content)
            raise _ERRORS[error["kind"]](error["text"])
        return kind, content

    def _frame(self) -> tuple[bytes, bytes]:
        if not self._answering:
            raise QueryError("The rows were not all read before the next statement: ask again.")
        try:
            self._pipe.poll(None)
            with _whole():
                frame = self._pipe.recv_bytes()
                self._answering = frame[:1] == BATCH
        except (EOFError, OSError):
            self._answering = False
            raise self._ended() from None
        return frame[:1], frame[1:]

    def _send(self, request: dict[str, Any]) -> None:
        try:
            self._pipe.send_bytes(json.dumps(request).encode())
        except OSError:
            raise self._ended() from None

    def _ended(self) -> QueryError:
        """Build the error for a process that has ended."""
        try:
            status = self._process.wait(_ENDING_SECONDS)
        except subprocess.TimeoutExpired:
            status = 0
        how = signal.Signals(-status).name if status < 0 else f"status {status}"
        return QueryError(
            f"The process that runs the queries has ended ({how}), and the lake is unchanged: start again, with a smaller or different query."
        )


@contextmanager
def ad_hoc(lake: Location, settings: Settings) -> Iterator[AdHoc]:
    """Open the lake for queries: the tables that it has now.

    Raises:
        PermanentError, TransientError: the lake cannot be read.
    """
    with started(lake, settings) as (pipe, process):
        asked = AdHoc(pipe, process)
        asked.wait_until_open()
        yield asked


@contextmanager
def _whole() -> Iterator[None]:
    """Defer Ctrl-C to the end of the block, which is short: half a frame would be read as the next one's beginning."""
    received: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        received.append(number)

    main = threading.current_thread() is threading.main_thread()
    with handling(note, signal.SIGINT) if main else nullcontext():
        yield
    if received:
        signal.raise_signal(signal.SIGINT)
