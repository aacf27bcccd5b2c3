"""A daily file of any size, written as a stream: the feed's items of one type, again and again with fresh ids, zipped as MessageGears sends it."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from datetime import date
from itertools import count
from pathlib import Path
from typing import Final, NamedTuple

import polars as pl

from benchmarks.data.feed import fresh_ids
from mg_lakehouse.bronze.account_activity import FileKey
from mg_lakehouse.events.catalogue import event_of_table, table_of_activity_type
from mg_lakehouse.testing.web_service import ActivityApi

__all__ = ["KEY", "DailyFile", "write_daily_file"]

KEY: Final = FileKey(date(2026, 3, 19), "DELIVERIES")
"""Day and type of the file."""

_TO_A_WRITE: Final = 500
_QUICKEST: Final = 1
"""Level of the compression: whoever unpacks does not notice it."""


class DailyFile(NamedTuple):
    """A file that was written: its ``items``, and its ``bytes`` when unpacked."""

    items: int
    bytes: int


def write_daily_file(file: Path, feed: pl.DataFrame, *, size: int) -> DailyFile:
    """Write a zip of one document of at least ``size`` bytes, and of 500 items more at most.

    Raises:
        ValueError: the feed has no item of the type.
    """
    items = _items(feed)
    if items.is_empty():
        raise ValueError(f"the feed has no item of {KEY.activity_type}")
    head, tag, tail = ActivityApi({}).file(*KEY, 0).partition(b"</ActivityItems>")
    with (
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=_QUICKEST) as archive,
        archive.open(f"{file.stem}.xml", "w", force_zip64=True) as document,
    ):
        length, number = document.write(head), 0
        parts = _again_and_again(items)
        while length < size:
            part = next(parts)
            length += document.write("".join(part["body"]).encode())
            number += part.height
        length += document.write(tag + tail)
    return DailyFile(number, length)


def _items(feed: pl.DataFrame) -> pl.DataFrame:
    """The items of the type, each a ``body``."""
    name = event_of_table(table_of_activity_type(KEY.activity_type)).elements[0]
    found = pl.col("body").str.extract_all(rf"(?s)<(?:\w+:)?{name}>.*?</(?:\w+:)?{name}>")
    return feed.select(found).explode("body").drop_nulls()


def _again_and_again(items: pl.DataFrame) -> Iterator[pl.DataFrame]:
    for copy in count():
        yield from (fresh_ids(items, copy) if copy else items).iter_slices(_TO_A_WRITE)
