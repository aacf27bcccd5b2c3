"""The data files of a table, chosen by the statistics in its log: what a look-up need not open costs nothing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

import polars as pl
from deltalake import DeltaTable

__all__ = ["Span", "data_files", "files_between", "may_differ", "meets", "spans_around"]

Span = tuple[datetime, datetime]
"""A closed span of time."""

_SPANS: Final = 64
"""Spans in one filter, at most: a longer one takes longer to test than the rows between take to read."""


def files_between(handle: DeltaTable, column: str, spans: Sequence[Span]) -> list[str]:
    """Addresses of the data files whose statistics of ``column`` meet one of the spans.

    A file without statistics of the column is always among them.
    """
    return data_files(handle, column).filter(meets(column, spans))["address"].to_list()


def data_files(handle: DeltaTable, *columns: str) -> pl.DataFrame:
    """The ``address`` of each data file, and for each column its least and greatest value there, null where there are no statistics.

    The values are in ``min.<column>`` and ``max.<column>``, for :func:`meets` and :func:`may_differ` to look at.
    """
    actions = pl.DataFrame(handle.get_add_actions(flatten=True))
    root = handle.table_uri.rstrip("/").removeprefix("file://")
    bounds = [f"{bound}.{column}" for column in columns for bound in ("min", "max")]
    known = [pl.col(bound) if bound in actions.columns else pl.lit(None).alias(bound) for bound in bounds]
    return actions.select(pl.lit(f"{root}/").add(pl.col("path")).alias("address"), *known)


def meets(column: str, spans: Sequence[Span]) -> pl.Expr:
    """Whether a file can hold a row whose ``column`` lies in one of the spans."""
    low, high = pl.col(f"min.{column}"), pl.col(f"max.{column}")
    within = pl.any_horizontal(pl.lit(value=False), *((low <= last) & (high >= first) for first, last in spans))
    return within | low.is_null() | high.is_null()


def may_differ(column: str, value: str) -> pl.Expr:
    """Whether a file can hold a row whose ``column`` is another than ``value``."""
    return ~((pl.col(f"min.{column}") == value) & (pl.col(f"max.{column}") == value)).fill_null(value=False)


def spans_around(times: pl.Series, margin: timedelta) -> list[Span]:
    """Spans that hold each of some times with a margin on both sides, merged where they meet, few enough to filter by."""
    ordered = times.drop_nulls().unique().sort()
    if ordered.is_empty():
        return []
    gaps = ordered.diff()
    widest = gaps.to_frame("gap").with_row_index().filter(pl.col("gap") > 2 * margin).top_k(_SPANS - 1, by="gap")["index"].sort()
    starts = ordered.gather([0, *widest])
    ends = ordered.gather([*(widest - 1), ordered.len() - 1])
    return [(first - margin, last + margin) for first, last in zip(starts, ends, strict=True)]
