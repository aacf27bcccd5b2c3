"""The process that runs ad hoc queries: it drops all access that a query must not have, and then loads the code that runs queries.

:mod:`mg_lakehouse.serving.sandbox.start` starts it and sends it over a pipe which lake to open, and what it may read. At its start this module
imports nothing that starts a thread: the kernel restricts the calling thread and those that it starts later. The process ends when the pipe does.

The protocol: the process receives an order, then requests, each a JSON object. It sends frames whose first byte is their kind: a batch of rows (an
Arrow stream of its own), the end of an answer, an error, or another answer as JSON.
"""

from __future__ import annotations

import json
import os
import sys
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Any, Final, TypedDict

from mg_lakehouse.errors import PermanentError, QueryError, TransientError
from mg_lakehouse.serving.sandbox import landlock

if TYPE_CHECKING:
    import pyarrow as pa

    from mg_lakehouse.serving.sandbox.answer import Asking

__all__ = ["ANSWER", "BATCH", "END", "ERROR", "Order", "confine", "main"]

BATCH: Final = b"B"
END: Final = b"Z"
ERROR: Final = b"E"
ANSWER: Final = b"A"

_FRAME_BYTES: Final = 8 * 2**20
"""Approximate size of a frame: ten thousand message bodies are 260 MB, and several copies exist on the way."""

_DEEPEST: Final = 20_000
"""Python's recursion limit for trees of statements: DuckDB accepts expressions 1,000 deep, and each level is two or three levels of the tree."""


class Order(TypedDict):
    """The first message to the process: the lake and its storage options, the process's folder, readable paths and ports."""

    lake: str
    resolved: dict[str, str]
    folder: str
    readable: list[str]
    ports: list[int]


def main() -> None:
    """Serve one lake until the pipe is closed."""
    pipe = Connection(int(sys.argv[1]))
    order: Order = json.loads(pipe.recv_bytes())
    sys.setrecursionlimit(_DEEPEST)
    try:
        confine(order)
        # Imported only now, because they start threads.
        from mg_lakehouse.lake.lake import Lake  # noqa: PLC0415
        from mg_lakehouse.serving.sandbox.answer import opened  # noqa: PLC0415

        gold_names = json.loads(pipe.recv_bytes())
        with opened(Lake(order["lake"], resolved=order["resolved"]), gold_names, Path(order["folder"])) as asking:
            _send(pipe, ANSWER, True)
            _serve(pipe, asking)
    except EOFError:
        return
    except Exception as error:  # noqa: BLE001  only the other side can report it
        _send_error(pipe, error)


def confine(order: Order) -> int:
    """Restrict this process to the order's paths and ports, if the kernel can. Return Landlock's version."""
    writable = [Path(order["folder"]), Path(os.devnull)]
    return landlock.restrict(readable=map(Path, order["readable"]), writable=writable, ports=order["ports"])


class _Inbox:
    """Requests in order. Another thread receives them, so that a stop request or the end of the pipe takes effect while a query runs."""

    def __init__(self, pipe: Connection, asking: Asking) -> None:
        self._pipe = pipe
        self._asking = asking
        self._requests: SimpleQueue[dict[str, Any]] = SimpleQueue()
        self.stopped = False
        Thread(target=self._receive, daemon=True).start()

    def next(self) -> dict[str, Any]:
        request = self._requests.get()
        self.stopped = False
        return request

    def _receive(self) -> None:
        while True:
            try:
                request = json.loads(self._pipe.recv_bytes())
            except (EOFError, OSError):
                os._exit(0)  # nobody is left to receive the answer
            if request["ask"] == "stop":
                self.stopped = True
                self._asking.interrupt()
            else:
                self._requests.put(request)


def _serve(pipe: Connection, asking: Asking) -> None:
    inbox = _Inbox(pipe, asking)
    while True:
        request = inbox.next()
        try:
            if request["ask"] == "rows":
                _send_rows(pipe, asking.rows(request["sql"]), inbox)
                pipe.send_bytes(END)
            elif request["ask"] == "shown":
                _send(pipe, ANSWER, asking.shown(request["sql"], max_width=request["max_width"], max_rows=request["max_rows"]))
            else:
                _send(pipe, ANSWER, asking.names())
        except Exception as error:  # noqa: BLE001  only the other side can report it, and the next query may succeed
            _send_error(pipe, error)


def _send_rows(pipe: Connection, rows: pa.RecordBatchReader, inbox: _Inbox) -> None:
    from mg_lakehouse.serving.sandbox.answer import query_errors  # noqa: PLC0415

    pipe.send_bytes(BATCH + _stream(rows.schema, []))
    with query_errors():
        for batch in rows:
            step = max(1, batch.num_rows * _FRAME_BYTES // max(1, batch.nbytes))
            for begin in range(0, batch.num_rows, step):
                if inbox.stopped:
                    return
                pipe.send_bytes(BATCH + _stream(rows.schema, [batch.slice(begin, step)]))


def _stream(schema: pa.Schema, batches: list[pa.RecordBatch]) -> bytes:
    import pyarrow as pa  # noqa: PLC0415

    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
    return sink.getvalue().to_pybytes()


def _send(pipe: Connection, kind: bytes, value: object) -> None:
    pipe.send_bytes(kind + json.dumps(value).encode())


def _send_error(pipe: Connection, error: Exception) -> None:
    """Send our own errors as they are; of others only the type, because their text may contain anything."""
    ours = next((kind for kind in (QueryError, PermanentError, TransientError) if isinstance(error, kind)), None)
    text = str(error) if ours else f"The query failed ({type(error).__name__}): try a smaller or different query."
    _send(pipe, ERROR, {"kind": (ours or QueryError).__name__, "text": text})


if __name__ == "__main__":
    main()
