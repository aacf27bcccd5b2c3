"""SQL text for DuckDB and delta-rs: literals, identifiers, predicates.

Every value that becomes part of an SQL text goes through here. A statement that takes bound parameters needs none of it.
What a statement means belongs to whoever runs it. It imports nothing large.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Final

__all__ = [
    "Value",
    "date_list",
    "date_literal",
    "file_list",
    "filled_in",
    "identifier",
    "literal",
    "replace_predicate",
    "text",
    "text_list",
    "time_literal",
]

Value = str | int | date | Sequence[str] | None
"""What a statement may be given."""

_PATTERN: Final = str.maketrans({sign: f"[{sign}]" for sign in "*?["})

_PARAMETER: Final = re.compile(r"\$([a-z_]+)")

_RANGES: Final = 16
"""Ranges that a set of keys is cut into, so that the file statistics skip what lies between them."""


def text(value: str) -> str:
    """Return a text as an SQL literal."""
    return "'" + value.replace("'", "''") + "'"


def text_list(values: Iterable[str]) -> str:
    """Return a list of texts as an SQL literal for DuckDB."""
    return f"[{', '.join(map(text, values))}]"


def file_list(files: Iterable[str]) -> str:
    """Return a list of files as an SQL literal for DuckDB's readers. They take names for patterns: `a?b` would also read its copy `a-b`."""
    return text_list(file.translate(_PATTERN) for file in files)


def identifier(name: str) -> str:
    """Return a name as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def date_literal(day: date) -> str:
    """Return a date as an SQL literal."""
    return f"DATE '{day.isoformat()}'"


def date_list(days: Iterable[date]) -> str:
    """Return dates as SQL literals for the parentheses of an ``IN``."""
    return ", ".join(map(date_literal, days))


def time_literal(at: datetime) -> str:
    """Return a time with a zone as an SQL literal for DuckDB."""
    return f"TIMESTAMPTZ '{at.isoformat()}'"


def literal(value: Value) -> str:
    """Return a text, a number, a date, a time, a list of texts or nothing as an SQL literal for DuckDB."""
    if value is None:
        return "NULL"
    if isinstance(value, str):
        return text(value)
    if isinstance(value, int):
        return str(value)
    if isinstance(value, datetime):
        return time_literal(value)
    if isinstance(value, date):
        return date_literal(value)
    return text_list(value)


def filled_in(sql: str, values: Mapping[str, Value]) -> str:
    """Return a statement with a literal for each ``$name`` in it, for where parameters cannot be bound.

    Raises:
        KeyError: the statement names a value that is not given.
    """
    return _PARAMETER.sub(lambda found: literal(values[found[1]]), sql)


def replace_predicate(column: str, keys: Sequence[str]) -> str:
    """Return a delta-rs predicate for ``column IN keys``, written so that file statistics can skip files.

    The list alone skips none where it is long; a few ranges in front of it do. Cost stays linear in the keys.
    """
    ordered = sorted(keys)
    ranges = " OR ".join(f"({column} >= {text(low)} AND {column} <= {text(high)})" for low, high in _cut(ordered))
    return f"(({ranges}) AND {column} IN ({', '.join(map(text, ordered))}))"


def _cut(ordered: Sequence[str]) -> list[tuple[str, str]]:
    """A few ranges that hold all keys, cut where neighbours have least in common."""
    gaps = sorted(range(1, len(ordered)), key=lambda at: _common_prefix(ordered[at - 1], ordered[at]))[: _RANGES - 1]
    starts = [0, *sorted(gaps)]
    ends = [*starts[1:], len(ordered)]
    return [(ordered[start], ordered[end - 1]) for start, end in zip(starts, ends, strict=True)]


def _common_prefix(left: str, right: str) -> int:
    length = 0
    for a, b in zip(left, right, strict=False):
        if a != b:
            break
        length += 1
    return length
