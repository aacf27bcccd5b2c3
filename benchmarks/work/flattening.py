"""Bodies to typed frames: ours and the lxml loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import polars as pl

from benchmarks.data.bronze import messages
from benchmarks.peers import lxml_loop as peer
from benchmarks.work.timing import timed
from mg_lakehouse.events.flatten import flatten

__all__ = ["lxml_loop", "ours", "same_rows"]

_SOURCE: Final = "event_feed"
_WARM_UP: Final = 300

Frames = dict[str, pl.DataFrame]


def ours(parameters: Mapping[str, Any]) -> Mapping[str, Any]:
    """``flatten`` over the bodies of ``feed``; of several ``tries`` the quickest counts."""
    return _time(parameters, lambda bronze: flatten(bronze, source=_SOURCE).tables)


def lxml_loop(parameters: Mapping[str, Any]) -> Mapping[str, Any]:
    """The loop over the same."""
    return _time(parameters, lambda bronze: peer.flatten(bronze, source=_SOURCE))


def same_rows(parameters: Mapping[str, Any]) -> Mapping[str, Any]:
    """Whether both give the same rows: ``differences`` names tables and columns."""
    bronze = messages(pl.read_parquet(Path(parameters["feed"])))
    found, loop = flatten(bronze, source=_SOURCE), peer.flatten(bronze, source=_SOURCE)
    return {"rows": sum(rows.height for rows in loop.values()), "differences": [*differences(found.tables, loop)]}


def differences(ours: Frames, theirs: Frames) -> list[str]:
    """Tables, and columns of tables, in which two ways to flatten the same messages differ."""
    wrong = sorted(set(ours) ^ set(theirs))
    for table in sorted(set(ours) & set(theirs)):
        mine, other = (rows.sort("message_id", "item_index") for rows in (ours[table], theirs[table]))
        if mine.height != other.height:
            wrong.append(f"{table}: {mine.height} and {other.height} rows")
        else:
            wrong += [f"{table}.{name}" for name in mine.columns if not mine[name].equals(other[name])]
    return wrong


def _time(parameters: Mapping[str, Any], work: Callable[[pl.DataFrame], Frames]) -> Mapping[str, Any]:
    bronze = messages(pl.read_parquet(Path(parameters["feed"])))
    work(bronze.head(_WARM_UP))
    tries = []
    for _ in range(parameters.get("tries", 1)):
        with timed() as took:
            tables = work(bronze)
        tries.append(took)
    took = min(tries, key=lambda one: one.seconds)
    return {
        "seconds": took.seconds,
        "cpu_seconds": took.cpu_seconds,
        "events": sum(rows.height for rows in tables.values()),
        "body_bytes": int(bronze["body"].str.len_bytes().sum()),
    }
