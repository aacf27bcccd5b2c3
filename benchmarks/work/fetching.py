"""A daily file, from a server in another process into bronze."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from datetime import date
from typing import Any

from benchmarks.work.timing import timed
from mg_lakehouse.bronze.account_activity import FileKey, fetch_activity
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.settings import Settings
from mg_lakehouse.sources.web_service import open_web_service

__all__ = ["fetch_daily_file"]


def fetch_daily_file(parameters: Mapping[str, Any]) -> Mapping[str, Any]:
    """Fetch the file of ``day`` and ``type`` from the service of ``environment``, with the settings that are the default."""
    environment: Mapping[str, str] = parameters["environment"]
    os.environ.update(environment)
    settings = Settings.model_validate({name: environment[f"MG_{name.upper()}"] for name in ("account_id", "api_key", "api_url")})
    key = FileKey(date.fromisoformat(parameters["day"]), parameters["type"])
    told: list[float] = []
    began = time.perf_counter()
    with timed() as took:
        fetched = fetch_activity(
            open_web_service(settings),
            Lake(parameters["lake"]),
            settings,
            key,
            progress=lambda *_: told.append(time.perf_counter() - began),
        )
    assert fetched.file is not None
    return {
        "seconds": took.seconds,
        "cpu_seconds": took.cpu_seconds,
        "events": fetched.file.items,
        "bytes": fetched.file.bytes,
        "fetched_bytes": fetched.file.fetched,
        "bundles": fetched.new,
        "commits": fetched.commits,
        "progress": told,
    }
