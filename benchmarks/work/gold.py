"""Gold builds, in the process of the caller as in a run of Dagster: the first one, and those after micro-batches."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from benchmarks.data.bronze import fill
from benchmarks.work.timing import timed
from mg_lakehouse.gold import engine
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.settings import Settings
from mg_lakehouse.silver.update import flatten_new

__all__ = ["build"]


def build(parameters: Mapping[str, Any]) -> Mapping[str, Any]:
    """Build gold of the lake ``lake`` as of ``received``; with ``batches``, files of bodies, after flattening each of them instead.

    Lists by build: ``seconds`` by the clock and ``cpu_seconds`` of all cores, ``models`` and ``tests`` the seconds of dbt's nodes, ``nodes`` the seconds of each model.

    Raises:
        ValueError: a node failed.
    """
    lake = Lake(parameters["lake"])
    received = datetime.fromisoformat(parameters["received"])
    builds = [_build(lake, received)] if "batches" not in parameters else []
    for number, file in enumerate(parameters.get("batches", [])):
        feed = pl.read_parquet(file)
        at = received + timedelta(minutes=3 * number)
        fill(lake, feed, events=int(feed["items"].sum()), first=parameters["first"] + number * 1_000_000, received=at)
        flatten_new(lake)
        builds.append(_build(lake, at))
    return {name: [each[name] for each in builds] for name in builds[0]}


def _build(lake: Lake, at: datetime) -> dict[str, Any]:
    with timed() as took:
        result = engine.build(lake, Settings(lake_uri=lake.root), as_of=at + timedelta(minutes=2))
    if not result.ok:
        raise ValueError("\n".join(f"{name}: {node.message}" for name, node in result.nodes.items() if node.status in ("error", "fail")))
    models = {name.split(".")[2]: round(node.seconds, 2) for name, node in result.nodes.items() if name.startswith("model.")}
    tests = sum(node.seconds for name, node in result.nodes.items() if name.startswith("test."))
    return {"seconds": took.seconds, "cpu_seconds": took.cpu_seconds, "models": sum(models.values()), "tests": tests, "nodes": models}
