"""The machine and the versions that a result belongs to."""

from __future__ import annotations

import platform
import subprocess
import time
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import psutil

__all__ = ["describe", "java_version"]

_PACKAGES: Final = ("mg-lakehouse", "polars", "deltalake", "pyarrow", "lxml", "xml2arrow", "duckdb", "dbt-core", "dagster", "boto3")


def describe() -> dict[str, Any]:
    """CPU, cores, memory, system and the versions that matter. Nothing that names the machine or its user."""
    return {
        "cpu": _cpu_model(),
        "cores": psutil.cpu_count(logical=True),
        "memory_bytes": psutil.virtual_memory().total,
        "system": f"{platform.system()} {platform.release().partition('-')[0]} {platform.machine()}",
        "python": platform.python_version(),
        "load_before": round(psutil.getloadavg()[0], 2),
        "counting_seconds": round(counting_seconds(), 2),
        "versions": {name: version for name in _PACKAGES if (version := _version(name))},
    }


def counting_seconds() -> float:
    """Seconds in which Python counts to ten million, the best of three: by it, results of two days can be told apart. The same machine did nearly twice as much on one day as on another."""

    def once() -> float:
        began = time.perf_counter()
        for _ in range(10_000_000):
            pass
        return time.perf_counter() - began

    return min(once() for _ in range(3))


def java_version() -> str | None:
    """First line of ``java -version``; ``None`` where there is no Java."""
    try:
        said = subprocess.run(["java", "-version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return said.stderr.strip().splitlines()[0]


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
