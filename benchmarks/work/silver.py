"""Bronze to silver with Delta writes: ours and the lxml loop."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import polars as pl

from benchmarks.data.bronze import fill
from benchmarks.peers.lxml_loop import bronze_to_silver
from benchmarks.work.timing import timed
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.silver.report import SilverReport
from mg_lakehouse.silver.update import flatten_new

__all__ = ["batches", "lxml_loop", "ours"]

_WARM_UP: Final = 300


def ours(parameters: Mapping[str, Any]) -> Mapping[str, Any]:
    """``flatten_new`` over the lake ``lake``; ``slice_bytes`` where it is not the default."""
    lake = Lake(parameters["lake"])
    _warm_up(pl.read_parquet(parameters["feed"]).head(_WARM_UP))
    options = {"slice_bytes": parameters["slice_bytes"]} if "slice_bytes" in parameters else {}
    shown: list[SilverReport] = []
    with timed() as took:
        report = flatten_new(lake, progress=shown.append, **options)
    return {
        "seconds": took.seconds,
        "cpu_seconds": took.cpu_seconds,
        "events": report.items,
        "rows": report.rows,
        "tables": {table: count.rows for table, count in report.tables.items()},
        "progress": [each.items for each in shown],
    }


def lxml_loop(parameters: Mapping[str, Any]) -> Mapping[str, Any]:
    """The loop over the same bronze table, into tables of its own."""
    with tempfile.TemporaryDirectory(prefix="mg-bench-") as folder:
        lake = Lake(folder)
        fill(lake, pl.read_parquet(parameters["feed"]).head(_WARM_UP), events=_WARM_UP)
        bronze_to_silver(Path(lake.uri_of("bronze", "event_feed")), Path(folder, "warm"))
    lake = Lake(parameters["lake"])
    with timed() as took:
        tables = bronze_to_silver(Path(lake.uri_of("bronze", "event_feed")), Path(lake.root, "peer"))
    return {
        "seconds": took.seconds,
        "cpu_seconds": took.cpu_seconds,
        "events": parameters["events"],
        "rows": sum(tables.values()),
        "tables": tables,
    }


def batches(parameters: Mapping[str, Any]) -> Mapping[str, Any]:
    """Micro-batches one after the other into the lake ``lake``: ``batches`` are files of bodies, the first a warm-up. Lists of seconds."""
    lake = Lake(parameters["lake"])
    received = datetime.fromisoformat(parameters["received"])
    appending, flattening, cpu, rows = [], [], [], []
    for number, file in enumerate(parameters["batches"]):
        feed = pl.read_parquet(file)
        with timed() as append:
            fill(lake, feed, events=int(feed["items"].sum()), first=parameters["first"] + number * 1_000_000, received=received)
        with timed() as flatten:
            report = flatten_new(lake)
        appending.append(append.seconds)
        flattening.append(flatten.seconds)
        cpu.append(flatten.cpu_seconds)
        rows.append(report.rows)
    return {"bronze_seconds": appending[1:], "silver_seconds": flattening[1:], "silver_cpu_seconds": cpu[1:], "rows": rows[1:]}


def _warm_up(feed: pl.DataFrame) -> None:
    with tempfile.TemporaryDirectory(prefix="mg-bench-") as folder:
        lake = Lake(folder)
        fill(lake, feed, events=int(feed["items"].sum()))
        flatten_new(lake)
