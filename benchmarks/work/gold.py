"""Gold builds, in a process of dbt's own as Dagster starts them: the first one, and those after micro-batches."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from benchmarks.data.bronze import fill
from benchmarks.work.timing import timed
from mg_lakehouse.gold import dbt_project
from mg_lakehouse.gold.contract import AS_OF
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
    as_of = {AS_OF: (at + timedelta(minutes=2)).isoformat()}
    with timed() as took:
        result = dbt_project.build(lake, Settings(lake_uri=lake.root), environment=as_of)
    if not result.ok:
        failed = [f"{name}: {node.message}" for name, node in result.nodes.items() if node.status in ("error", "fail")]
        raise ValueError("\n".join(failed) or result.output[-2_000:])
    models = {name.split(".")[2]: round(node.seconds, 2) for name, node in result.nodes.items() if name.startswith("model.")}
    tests = sum(node.seconds for name, node in result.nodes.items() if name.startswith("test."))
    return {"seconds": took.seconds, "cpu_seconds": took.cpu_seconds, "models": sum(models.values()), "tests": tests, "nodes": models}
