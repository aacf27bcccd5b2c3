"""A drain of the queue stand-in, which is in another process, into bronze."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from benchmarks.work.timing import timed
from mg_lakehouse.bronze.event_feed import drain
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.settings import Settings
from mg_lakehouse.sources.sqs import open_queue

__all__ = ["drain_queue"]


def drain_queue(parameters: Mapping[str, Any]) -> Mapping[str, Any]:
    """Drain the queue of ``environment`` until it is empty, with the settings that are the default."""
    os.environ.update(parameters["environment"])
    settings = Settings(lake_uri=parameters["lake"], queue_url=parameters["environment"]["MG_QUEUE_URL"])
    queue = open_queue(settings)
    with timed() as took:
        report = drain(queue, Lake(settings.lake_uri), settings)
    return {
        "seconds": took.seconds,
        "cpu_seconds": took.cpu_seconds,
        "events": report.new,
        "deleted": report.deleted,
        "commits": report.commits,
        "bytes": report.bytes,
    }
