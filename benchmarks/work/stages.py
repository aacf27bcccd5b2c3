"""Where the time of bronze to silver goes: the stages one by one on the same messages, and the whole beside their sum.

Each stage is the pipeline's own function where that can be called alone. What is left of the whole is commits and the looks at the tables
before them; it can be small or below nothing where stages run side by side.
"""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from threading import Lock
from typing import Any, Final

import polars as pl

from benchmarks.work.silver import ours
from benchmarks.work.timing import Timed, timed
from mg_lakehouse.events.dedupe import first_received
from mg_lakehouse.events.flatten import flatten
from mg_lakehouse.events.strict.cast import type_cells
from mg_lakehouse.lake.lake import Lake

__all__ = ["stages"]

_COLUMNS: Final = ["message_id", "body", "received_at", "received_date"]
_WARM_UP: Final = 300


def stages(parameters: Mapping[str, Any]) -> Mapping[str, Any]:
    """Seconds and CPU seconds of each stage over the bronze of ``lake``, in ``stages``."""
    whole = ours(parameters)
    bronze = Lake(parameters["lake"]).open("bronze", "event_feed")
    assert bronze is not None
    with timed() as read:
        stream = bronze.load_cdf(1, bronze.version(), columns=[*_COLUMNS, "_commit_version"])
        messages = pl.DataFrame(stream.read_all()).select(_COLUMNS)
    flatten(messages.head(_WARM_UP), source="event_feed")
    with timed() as flattened, _watched(type_cells) as typed:
        tables = flatten(messages, source="event_feed").tables
    with timed() as unique:
        kept = [first_received(rows).kept for rows in tables.values()]
    with timed() as encoded:
        for rows in kept:
            rows.write_parquet(io.BytesIO(), compression="zstd", compression_level=1)
    found = {
        "read bronze": read,
        "parse": _less(flattened, typed),
        "type": typed,
        "de-duplicate in the batch": unique,
        "encode Parquet": encoded,
    }
    rest = Timed(whole["seconds"], whole["cpu_seconds"])
    for each in found.values():
        rest = _less(rest, each)
    found |= {"look at the tables, commit, the rest": rest, "bronze to silver, whole": Timed(whole["seconds"], whole["cpu_seconds"])}
    return {
        "seconds": whole["seconds"],
        "events": whole["events"],
        "stages": {name: {"seconds": each.seconds, "cpu_seconds": each.cpu_seconds} for name, each in found.items()},
    }


def _less(whole: Timed, part: Timed) -> Timed:
    return Timed(whole.seconds - part.seconds, whole.cpu_seconds - part.cpu_seconds)


@contextmanager
def _watched(function: Callable[..., Any]) -> Iterator[Timed]:
    """Add up the time within a function of the package, wherever a module has it by name; of several threads the sum."""
    spent, lock = Timed(), Lock()

    def watching(*args: Any, **options: Any) -> Any:
        wall, cpu = time.perf_counter(), time.process_time()
        try:
            return function(*args, **options)
        finally:
            with lock:
                spent.seconds += time.perf_counter() - wall
                spent.cpu_seconds += time.process_time() - cpu

    modules = [module for name, module in sys.modules.items() if name.startswith("mg_lakehouse.")]
    places = [(module, name) for module in modules for name, value in vars(module).items() if value is function]
    for module, name in places:
        setattr(module, name, watching)
    try:
        yield spent
    finally:
        for module, name in places:
            setattr(module, name, function)
