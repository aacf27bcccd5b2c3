"""A short, readable difference between the rows expected and the rows found."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from typing import Any

Row = dict[str, Any]


def difference(expected: Iterable[Row], actual: Iterable[Row], *, key: Sequence[str], limit: int = 12, tolerance: float = 1e-9) -> str:
    """What tells two sets of rows apart, empty where nothing does.

    Rows are matched by ``key``. Floats may differ by ``tolerance``, relatively or absolutely; ``_rescued_data`` is compared
    as JSON; a column that only one side has is a difference. At most ``limit`` lines, then the number of the others.
    """
    lines: list[str] = []
    wanted, twice_wanted = _by_key(expected, key)
    found, twice_found = _by_key(actual, key)
    lines += [f"expected twice: {_name(key, value)}" for value in twice_wanted]
    lines += [f"found twice: {_name(key, value)}" for value in twice_found]
    lines += [f"missing: {_name(key, value)}" for value in wanted if value not in found]
    lines += [f"too many: {_name(key, value)}" for value in found if value not in wanted]
    for value, row in wanted.items():
        if value in found:
            lines += [f"{_name(key, value)}: {text}" for text in _row_difference(row, found[value], tolerance)]
    if len(lines) > limit:
        lines = [*lines[:limit], f"... and {len(lines) - limit} more"]
    if lines:
        lines.insert(0, f"{len(wanted)} rows expected, {len(found)} found")
    return "\n".join(lines)


def _by_key(rows: Iterable[Row], key: Sequence[str]) -> tuple[dict[tuple[Any, ...], Row], list[tuple[Any, ...]]]:
    found: dict[tuple[Any, ...], Row] = {}
    twice = []
    for row in rows:
        value = tuple(row[name] for name in key)
        if value in found:
            twice.append(value)
        found[value] = row
    return found, twice


def _name(key: Sequence[str], value: tuple[Any, ...]) -> str:
    return ", ".join(f"{name}={part!s}" for name, part in zip(key, value, strict=True))


def _row_difference(wanted: Row, found: Row, tolerance: float) -> list[str]:
    lines = [f"no column {name}" for name in wanted if name not in found]
    lines += [f"unknown column {name}" for name in found if name not in wanted]
    for name, value in wanted.items():
        if name in found and not _same(name, value, found[name], tolerance):
            lines.append(f"{name} should be {value!r}, is {found[name]!r}")
    return lines


def _same(name: str, wanted: Any, found: Any, tolerance: float) -> bool:
    if wanted is None or found is None:
        return wanted is None and found is None
    if name == "_rescued_data":
        return bool(json.loads(wanted) == json.loads(found))
    if isinstance(wanted, float) or isinstance(found, float):
        return math.isclose(wanted, found, rel_tol=tolerance, abs_tol=tolerance)
    return bool(wanted == found and isinstance(wanted, bool) == isinstance(found, bool))
