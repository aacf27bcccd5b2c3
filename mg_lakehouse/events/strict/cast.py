"""Casts text cells to typed rows, in Polars expressions: times, numbers, booleans, and texts that do not parse.

``Frame -> Frame`` functions over the text cells of :mod:`mg_lakehouse.events.strict.extract`. An unusable
``Timestamp`` rejects the item; any other cell that does not parse becomes null and keeps its text in
``_rescued_data``. A time before 1900 or after 2199 does not parse. Beside ``xsd:dateTime``, times are read as databases and programs write
them where that can mean one instant only.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Final, NamedTuple

import polars as pl

from mg_lakehouse.events.catalogue import COMMON_COLUMNS, UNRECOGNIZED, Column, ColumnType, event_of_table
from mg_lakehouse.events.rejects import Reason
from mg_lakehouse.events.schemas import TIMESTAMP, silver_schema
from mg_lakehouse.events.strict.extract import RAW_REJECTIONS

__all__ = [
    "Typed",
    "as_date_time",
    "in_one_form",
    "parse_bool",
    "parse_cell",
    "parse_int",
    "parse_timestamp",
    "type_cells",
    "typed_schema",
    "utc_offset_minutes",
]

_YEAR: Final = "(?:19|20|21)[0-9]{2}"
"""Years that a time may have. .NET's default of 0001-01-01 and a maximum of 9999-12-31 are placeholders, not times. Adding a day or an offset to them
leaves what Python can hold (years 1 to 9999) or, in nanoseconds, pandas (1677 to 2262); from 1900 to 2199 a century is left on both sides."""

# xsd:dateTime (XML Schema 1.0, part 2, 3.2.7). Years beyond four digits mean nothing in a feed.
_DATE_TIME: Final = "^" + _YEAR + r"-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?(?:Z|[+-][0-9]{2}:[0-9]{2})?$"
_SECONDS_END: Final = 19

# What databases, spreadsheets and programs write for it: a blank for the T, offsets without a colon or minutes, names of UTC, a comma before the fraction, no
# seconds, the zone's name behind the offset (Java), and ISO's basic form. Days and months of one or two digits in any order are not among them.
_OFFSET: Final = r"(?P<zone>[Zz]|UTC|GMT|[+-][0-9]{2}(?::?[0-9]{2})?)?"
_LOOSE: Final = re.compile(
    r"(?P<date>"
    + _YEAR
    + r"-[0-9]{2}-[0-9]{2})(?:[Tt]|[ \u00a0\u202f]+)(?P<minute>[0-9]{2}:[0-9]{2})(?::(?P<second>[0-9]{2})(?:[.,](?P<fraction>[0-9]+))?)?"
    r"[ \u00a0\u202f]*" + _OFFSET + r"(?:\[[A-Za-z0-9_/+-]+\])?"
)
_BASIC: Final = re.compile(
    r"(?P<date>" + _YEAR + r"[0-9]{4})T(?P<minute>[0-9]{4})(?P<second>[0-9]{2})(?:[.,](?P<fraction>[0-9]+))?" + _OFFSET
)
_EPOCH: Final = re.compile(r"(?P<seconds>[0-9]{10})(?:\.(?P<fraction>[0-9]+))?|(?P<millis>[0-9]{13})|(?P<micros>[0-9]{16})")
"""Since 1970, in seconds, milliseconds or microseconds: by the number of digits, which is the same from 2001 to 2286."""
_DIGITS_OF_DAY: Final = re.compile(_YEAR + "(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])")
"""`2026030210` may be ten o'clock of a day or a second of 2034."""


class Typed(NamedTuple):
    """Typed rows of one table, and the items rejected for their time.

    ``rows`` has the columns of :func:`typed_schema`, ``rejections`` those of ``RAW_REJECTIONS``.
    """

    rows: pl.DataFrame
    rejections: pl.DataFrame


def as_date_time(text: str) -> str:
    """Write a time as ``xsd:dateTime``, where it has another form that means one instant only; any other text as it is."""
    written = text.strip("\"' \u00a0")
    if (epoch := _EPOCH.fullmatch(written)) and not _DIGITS_OF_DAY.match(written):
        seconds, fraction, millis, micros = epoch.groups()
        micros = micros or (f"{millis}000" if millis else seconds + (fraction or "")[:6].ljust(6, "0"))
        at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=int(micros))
        return f"{at:%Y-%m-%dT%H:%M:%S.%f}Z"
    found = _LOOSE.fullmatch(written) or _BASIC.fullmatch(written)
    if found is None:
        return text
    day, minute = found["date"].replace("-", ""), found["minute"].replace(":", "")
    fraction = f".{found['fraction']}" if found["fraction"] else ""
    zone = (found["zone"] or "").replace(":", "")
    offset = f"{zone[:3]}:{zone[3:] or '00'}" if zone[:1] in "+-" and zone else "Z" if zone else ""
    return f"{day[:4]}-{day[4:6]}-{day[6:]}T{minute[:2]}:{minute[2:]}:{found['second'] or '00'}{fraction}{offset}"


def in_one_form(text: pl.Series) -> pl.Series:
    """Write the times of a column as ``xsd:dateTime`` where they have another form. Nearly none has: a feed's own times are left alone."""
    odd = (text.is_not_null() & ~text.str.contains(_DATE_TIME)).arg_true()
    if odd.is_empty():
        return text
    return text.clone().scatter(odd, [as_date_time(each) for each in text.gather(odd)])


@cache
def typed_schema(table: str) -> pl.Schema:
    """Return the columns of one table's typed rows: ``message`` (row of the batch), ``item_index``, the event's columns, ``_rescued_data``."""
    known = silver_schema(table)
    names = [column.name for column in (*COMMON_COLUMNS, *event_of_table(table).columns)]
    return pl.Schema(
        {"message": pl.UInt32(), "item_index": pl.Int64(), **{name: known[name] for name in names}, "_rescued_data": known["_rescued_data"]}
    )


def _parts(text: pl.Expr) -> tuple[pl.Expr, pl.Expr]:
    """Return UTC timestamp and written offset (minutes) of ``xsd:dateTime`` texts; null for other texts.

    The parts have fixed positions: slicing takes a tenth of the time of a pattern with groups.
    """
    hour, minute, second = (_number(text, at) for at in (11, 14, 17))
    sign = text.str.slice(-6, 1)
    has_offset, is_utc = sign.is_in(["+", "-"]), text.str.ends_with("Z")
    offset = _number(text, -5) * 60 + _number(text, -2)
    end_of_day = (hour == 24) & (minute == 0) & (second == 0)
    valid = ((hour < 24) | end_of_day) & (minute < 60) & (second < 60)
    zone_valid = ~has_offset | ((_number(text, -2) < 60) & (offset <= 14 * 60))
    minutes = pl.when(sign == "-").then(-offset).when(sign == "+").then(offset).when(is_utc).then(0)
    # Digits beyond microseconds are cut, never rounded: rounding could move an event into the next day.
    zone_length = pl.when(has_offset).then(6).when(is_utc).then(1).otherwise(0)
    fraction_length = (text.str.len_bytes().cast(pl.Int64) - _SECONDS_END - 1 - zone_length).clip(0, 6)
    micros = text.str.slice(_SECONDS_END + 1, fraction_length).str.pad_end(6, "0").cast(pl.Int64, strict=False)
    day = text.str.slice(0, 10).str.to_date("%Y-%m-%d", strict=False).cast(pl.Datetime("us"))
    local = day + pl.duration(hours=hour, minutes=minute, seconds=second, microseconds=micros)
    utc = (local - pl.duration(minutes=minutes.fill_null(0))).dt.replace_time_zone("UTC")
    usable = text.str.contains(_DATE_TIME) & valid & zone_valid
    return pl.when(usable).then(utc), pl.when(usable).then(minutes)


def _number(text: pl.Expr, at: int) -> pl.Expr:
    """Return two digits as a number; null for other texts."""
    return text.str.slice(at, 2).cast(pl.Int64, strict=False)


def parse_timestamp(text: pl.Expr) -> pl.Expr:
    """Return the ``timestamp`` of an ``xsd:dateTime`` text of the years 1900 to 2199; without an offset it is UTC. Null for other texts."""
    return _parts(text)[0].cast(TIMESTAMP)


def utc_offset_minutes(text: pl.Expr) -> pl.Expr:
    """Return the offset written in an ``xsd:dateTime`` text, in minutes (``Z`` is 0); null if there is none."""
    return _parts(text)[1].cast(pl.Int64)


def parse_int(text: pl.Expr) -> pl.Expr:
    """Return the 64-bit integer of an ``xsd:integer`` text; null for other texts and numbers that do not fit."""
    return pl.when(text.str.contains(r"^[+-]?[0-9]+$")).then(text.str.strip_prefix("+").cast(pl.Int64, strict=False))


def parse_bool(text: pl.Expr) -> pl.Expr:
    """Return the boolean of an ``xsd:boolean`` text, in any case; null for other texts."""
    lowered = text.str.to_lowercase()
    return pl.when(lowered.is_in(["true", "1"])).then(pl.lit(value=True)).when(lowered.is_in(["false", "0"])).then(pl.lit(value=False))


_PARSERS: Final = {"timestamp": parse_timestamp, "int": parse_int, "bool": parse_bool}


def parse_cell(text: pl.Expr, kind: ColumnType) -> pl.Expr:
    """Return the value of a column's cell: null if the text is empty or not of the column's type."""
    filled = pl.when(text != "").then(text)
    return _PARSERS[kind](filled) if kind in _PARSERS else filled


def type_cells(cells: pl.DataFrame, table: str) -> Typed:
    """Type the text cells of one table."""
    timed = _timed(cells, cells["event_at"])
    if timed["_event_at"].null_count() > timed["event_at"].null_count():
        timed = _timed(cells, in_one_form(cells["event_at"]))
    usable = pl.col("_event_at").is_not_null()
    rows = timed.filter(usable).pipe(_parse_columns, table).pipe(_derive, table)
    return Typed(rows, timed.filter(~usable).pipe(_rejections))


def _timed(cells: pl.DataFrame, written: pl.Series) -> pl.DataFrame:
    """Add the instants and offsets of the events' times as written."""
    text = pl.col("_written")
    # Lazy, so that the common part of both is computed once.
    timed = cells.lazy().with_columns(written.alias("_written"))
    return timed.with_columns(_event_at=parse_timestamp(text), utc_offset_minutes=utc_offset_minutes(text)).drop("_written").collect()


def _rejections(untimed: pl.DataFrame) -> pl.DataFrame:
    missing = pl.col("event_at").is_null()
    in_no_year = ~pl.col("event_at").str.contains(f"^{_YEAR}-") & pl.col("event_at").str.contains(r"^-?[0-9]{4,}-[0-9]{2}-[0-9]{2}T")
    return untimed.select(
        "message",
        "item_index",
        "element",
        reason=pl.when(missing).then(pl.lit(Reason.MISSING_TIMESTAMP.value)).otherwise(pl.lit(Reason.INVALID_TIMESTAMP.value)),
        detail=pl.when(missing)
        .then(pl.lit("The item has no Timestamp."))
        .when(in_no_year)
        .then(pl.format("The item's Timestamp is not of the years 1900 to 2199: {}.", pl.col("event_at").str.slice(0, 40)))
        .otherwise(
            pl.format(
                "The item's Timestamp is no xsd:dateTime, nor another form that means one instant only: {}.",
                pl.col("event_at").str.slice(0, 40),
            )
        ),
        fragment="fragment",
    ).cast(RAW_REJECTIONS)


def _parse_columns(cells: pl.DataFrame, table: str) -> pl.DataFrame:
    columns = [column for column in event_of_table(table).columns if column.elements and column.type in _PARSERS]
    if not columns:
        return cells
    written = cells.with_columns(in_one_form(cells[column.name]) for column in columns if column.type == "timestamp")
    parsed = cells.with_columns(written.select(_PARSERS[column.type](pl.col(column.name)).alias(f"_{column.name}") for column in columns))
    lost = parsed.with_columns(_rescue_unparsed(parsed, columns))
    return lost.with_columns(pl.col(f"_{column.name}").alias(column.name) for column in columns).drop(
        f"_{column.name}" for column in columns
    )


def _rescue_unparsed(parsed: pl.DataFrame, columns: list[Column]) -> pl.Series:
    """Return ``_rescued_data`` with the texts that did not parse. Such rows are few, so they are built one by one."""
    rescued = parsed["_rescued_data"]
    for column in columns:
        bad = (parsed[column.name].is_not_null() & parsed[f"_{column.name}"].is_null()).arg_true()
        if bad.is_empty():
            continue
        texts = [_with_text(rescued[row], column.elements[0], parsed[column.name][row]) for row in bad.to_list()]
        rescued = rescued.scatter(bad, texts)
    return rescued


def _with_text(rescued: str | None, element: str, text: str) -> str:
    kept: dict[str, Any] = json.loads(rescued) if rescued else {}
    later = kept.get(element, [])
    # The text that did not parse came first: the reader rescued the repeated ones.
    kept[element] = [text, *(later if isinstance(later, list) else [later])] if element in kept else text
    return json.dumps(dict(sorted(kept.items())), ensure_ascii=False)


def _derive(parsed: pl.DataFrame, table: str) -> pl.DataFrame:
    derived = parsed.with_columns(event_at=pl.col("_event_at"), event_date=pl.col("_event_at").dt.date())
    if table == UNRECOGNIZED:
        # `element` already is a column of this table.
        derived = derived.with_columns(item_xml="fragment")
    return derived.select(typed_schema(table).names())
