"""The process that runs ad hoc queries: it takes from itself what a query must not have, and then loads what answers it.

Started by :mod:`mg_lakehouse.serving.sandbox.sandbox`, which tells it over a pipe which lake, and what it may read. At its start this module imports nothing that
starts a thread: the kernel binds the thread that asks for it and those that this one starts later. It ends when the pipe does.

What goes over the pipe: to here an order, then requests, each a JSON object; from here frames, of which the first byte says what it is: a batch of
rows (an Arrow stream of its own), the end of an answer, an error, or another answer as JSON.
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
"""Of a frame, about: ten thousand bodies of messages are 260 MB, of which there are some copies on the way."""

_DEEPEST: Final = 20_000
"""Python's limit for the trees of statements: DuckDB takes an expression that is 1,000 deep, and each step is two or three of the tree."""


class Order(TypedDict):
    """What the process is told first: the lake and the storage options of it, the copy of its catalogue, its folder, and what it may read and ask."""

    lake: str
    resolved: dict[str, str]
    catalog: str | None
    folder: str
    readable: list[str]
    ports: list[int]


def main() -> None:
    """Serve one catalogue until the pipe is closed."""
    pipe = Connection(int(sys.argv[1]))
    order: Order = json.loads(pipe.recv_bytes())
    sys.setrecursionlimit(_DEEPEST)
    try:
        confine(order)
        # Only now, for they start threads.
        from mg_lakehouse.lake.lake import Lake  # noqa: PLC0415
        from mg_lakehouse.serving.sandbox.answer import opened  # noqa: PLC0415

        gold_names = json.loads(pipe.recv_bytes())
        catalog = None if order["catalog"] is None else Path(order["catalog"])
        with opened(Lake(order["lake"], resolved=order["resolved"]), gold_names, catalog, Path(order["folder"])) as asking:
            _send(pipe, ANSWER, True)
            _serve(pipe, asking)
    except EOFError:
        return
    except Exception as error:  # noqa: BLE001  the other side has the only voice
        _send_error(pipe, error)


def confine(order: Order) -> int:
    """Bind this process to what the order lets it read and write, where the kernel can. Returns Landlock's version."""
    writable = [Path(order["folder"]), Path(os.devnull)]
    return landlock.restrict(readable=map(Path, order["readable"]), writable=writable, ports=order["ports"])


class _Inbox:
    """Requests in their order. Another thread receives them, so that a word to stop is heard while a query runs, and the end of the pipe too."""

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
                os._exit(0)  # nobody is there to hear the answer
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
        except Exception as error:  # noqa: BLE001  the other side has the only voice, and the next query may do better
            _send_error(pipe, error)


def _send_rows(pipe: Connection, rows: pa.RecordBatchReader, inbox: _Inbox) -> None:
    from mg_lakehouse.serving.sandbox.answer import said  # noqa: PLC0415

    pipe.send_bytes(BATCH + _stream(rows.schema, []))
    with said():
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
    """An error of ours as it is; of another the kind, for its text may hold anything."""
    ours = next((kind for kind in (QueryError, PermanentError, TransientError) if isinstance(error, kind)), None)
    text = str(error) if ours else f"The query could not be answered ({type(error).__name__}): ask for less, or in another way."
    _send(pipe, ERROR, {"kind": (ours or QueryError).__name__, "text": text})


if __name__ == "__main__":
    main()
