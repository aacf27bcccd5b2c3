"""Entry of a process that does one piece of work; see :mod:`benchmarks.work`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Final

# By name: the module and its function. Imported when asked for, so that nobody pays for another's libraries.
_WORK: Final = {
    "flatten": ("benchmarks.work.flattening", "ours"),
    "flatten-lxml": ("benchmarks.work.flattening", "lxml_loop"),
    "same-rows": ("benchmarks.work.flattening", "same_rows"),
    "silver": ("benchmarks.work.silver", "ours"),
    "silver-lxml": ("benchmarks.work.silver", "lxml_loop"),
    "silver-batches": ("benchmarks.work.silver", "batches"),
    "parse-lxml": ("benchmarks.work.floor", "parse_lxml"),
    "parse-xml2arrow": ("benchmarks.work.floor", "parse_xml2arrow"),
    "encode": ("benchmarks.work.floor", "encode"),
    "stages": ("benchmarks.work.stages", "stages"),
    "gold": ("benchmarks.work.gold", "build"),
    "drain": ("benchmarks.work.draining", "drain_queue"),
    "daily-file": ("benchmarks.work.fetching", "fetch_daily_file"),
}


def main(name: str, parameters: Path, answer: Path) -> None:
    """Do the work and write its answer."""
    module, function = _WORK[name]
    work: Callable[[Mapping[str, Any]], Mapping[str, Any]] = getattr(import_module(module), function)
    answer.write_text(json.dumps(dict(work(json.loads(parameters.read_text())))))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
