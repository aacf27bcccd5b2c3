"""Times that the schema allows and no calendar of ours holds: the item is rejected, its siblings are rows, and nothing raises at either end.

What is a time of the feed is reckoned here by hand, from the text's year: 1900 to 2199. Beyond are .NET's DateTime.MinValue and MaxValue, and what arithmetic makes of them.
"""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta, tzinfo
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mg_lakehouse._util.dates import FIRST_MOMENT, LAST_MOMENT, moved, of_milliseconds, shifted, span_of_day
from mg_lakehouse.events.schemas import TIMESTAMP
from mg_lakehouse.lake.file_stats import spans_around
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.silver.rebuild import rebuild
from mg_lakehouse.silver.update import flatten_new
from mg_lakehouse_tests.events.frames import bundle, flat, item
from mg_lakehouse_tests.events.property_examples import examples
from mg_lakehouse_tests.lake.feeds import START, receive, rows_of

GIVEN = sorted((Path(__file__).parents[1] / "fixtures" / "times").glob("*.xml"))

BEYOND = [
    "0001-01-01T00:00:00",
    "0001-01-01T00:00:00Z",
    "0001-01-01T00:00:00+14:00",
    "0000-01-01T00:00:00Z",
    "1899-12-31T23:59:59.9999999Z",
    "1753-01-01T00:00:00",  # SQL Server's least datetime
    "1600-12-31T23:59:59Z",  # before the epoch of Windows' FILETIME
    "2200-01-01T00:00:00Z",
    "2262-04-11T23:47:16.854775807Z",  # the last nanosecond of pandas
    "9999-12-31T00:00:00",
    "9999-12-31T23:59:59.9999999",
    "9999-12-31T23:59:59-05:00",
    "9999-12-31T24:00:00Z",
]
"""What .NET, SQL Server, Windows and pandas write for "none" and "never"."""

NO_YEARS = ["10000-01-01T00:00:00Z", "292278994-08-17T07:12:55Z", "-0001-12-31T00:00:00Z", "-44-03-15T12:00:00Z"]
"""xsd:dateTime also allows these."""


def opened(activity: str, at: str) -> str:
    return item("OpenActivity", ActivityId=activity, Timestamp=at)


@pytest.mark.parametrize("text", [*BEYOND, *NO_YEARS])
def test_an_item_of_no_possible_year_is_rejected_and_its_siblings_are_rows(text: str) -> None:
    flattened = flat(bundle(opened("a", "2026-03-01T10:00:00Z"), opened("b", text), opened("c", "2026-03-01T10:00:00Z")))
    assert flattened.tables["opens"]["activity_id"].to_list() == ["a", "c"]
    rejected = flattened.rejected.row(0, named=True)
    assert (rejected["reason"], rejected["item_index"]) == ("invalid_timestamp", 1)
    assert rejected["detail"].startswith(
        "The item's Timestamp is no xsd:dateTime" if text in NO_YEARS[3:] else "The item's Timestamp is not of the years 1900 to 2199: "
    )


@pytest.mark.parametrize("text", BEYOND)
def test_of_a_detail_the_text_is_kept_and_the_item_is_a_row(text: str) -> None:
    hit = item("ContextHitActivity", ActivityId="h", RecordSize="5", CreateTimestamp=text)
    row = flat(bundle(hit)).tables["context_hits"].row(0, named=True)
    assert row["created_at"] is None
    assert json.loads(row["_rescued_data"]) == {"CreateTimestamp": text}


@pytest.mark.parametrize("file", GIVEN, ids=lambda file: file.stem)
def test_what_comes_behind_it_is_flattened(file: Path, tmp_path: Path) -> None:
    """A commit of such an item made every later look for copies fail with OverflowError, behind messages that were deleted."""
    lake = Lake(str(tmp_path / "lake"))
    for number, body in enumerate(
        [bundle(opened("g1", "2026-03-01T10:00:00Z")), file.read_text(), bundle(opened("g2", "2026-03-01T10:00:00Z"))]
    ):
        receive(lake, [body], first=number)
        flatten_new(lake)
    assert sorted(rows_of(lake, "silver", "opens")["activity_id"]) == ["g1", "g2"]
    assert rows_of(lake, "silver", "rejected_items")["reason"].to_list() == ["invalid_timestamp"]
    assert [made.changed for made in rebuild(lake, [START.date()])] == [False] * 21


@st.composite
def calendar(draw: st.DrawFn) -> tuple[str, bool]:
    """A text by the grammar of ``xsd:dateTime``, and whether it is a time of the feed."""
    day = draw(
        st.dates(date(1, 1, 1), date(9999, 12, 31))
        | st.sampled_from([date(1, 1, 1), date(1899, 12, 31), date(1900, 1, 1), date(2199, 12, 31), date(2200, 1, 1), date.max])
    )
    fraction = st.just("") | st.text("0123456789", min_size=1, max_size=12).map(lambda digits: f".{digits}")
    clock = draw(st.builds(lambda time, digits: f"{time:%H:%M:%S}{digits}", st.times(), fraction) | st.just("24:00:00"))
    zone = draw(st.sampled_from(["", "Z", "+00:00", "-00:00", "+14:00", "-14:00", "-05:00", "+05:30"]))
    return f"{day.isoformat()}T{clock}{zone}", 1900 <= day.year <= 2199


@examples(300)
@given(st.lists(calendar(), min_size=1, max_size=10))
@example([("1900-01-01T00:00:00+14:00", True), ("2199-12-31T24:00:00-14:00", True)])
def test_of_any_times_those_of_the_years_are_rows_and_the_others_rejects(drawn: list[tuple[str, bool]]) -> None:
    flattened = flat(bundle(*(opened(f"a{number}", text) for number, (text, _) in enumerate(drawn))))
    rows = flattened.tables.get("opens", pl.DataFrame(schema={"item_index": pl.Int64, "event_at": TIMESTAMP}))
    assert rows["item_index"].to_list() == [number for number, (_, fits) in enumerate(drawn) if fits]
    assert flattened.items == rows.height + flattened.rejected.height == len(drawn)
    assert all(at.year in range(1899, 2201) for at in rows["event_at"])


MOMENTS = st.datetimes(timezones=st.just(UTC)) | st.sampled_from([FIRST_MOMENT, LAST_MOMENT])
ZONES = st.sampled_from([UTC, ZoneInfo("Pacific/Kiritimati"), ZoneInfo("Etc/GMT+12"), ZoneInfo("America/New_York")])


@given(MOMENTS, st.timedeltas())
@example(FIRST_MOMENT, timedelta(microseconds=-1))
@example(LAST_MOMENT, timedelta.max)
def test_a_step_beyond_the_calendar_ends_at_its_end(at: datetime, by: timedelta) -> None:
    exact = (at - FIRST_MOMENT) // timedelta(microseconds=1) + by // timedelta(microseconds=1)
    whole = (LAST_MOMENT - FIRST_MOMENT) // timedelta(microseconds=1)
    assert (moved(at, by) - FIRST_MOMENT) // timedelta(microseconds=1) == min(max(exact, 0), whole)


@given(st.dates(), st.integers(-(10**9), 10**9))
@example(date.max, 1)
@example(date.min, -28)
def test_a_day_beyond_the_calendar_is_its_last(day: date, days: int) -> None:
    assert shifted(day, days).toordinal() == min(max(day.toordinal() + days, 1), date.max.toordinal())


@given(st.dates() | st.sampled_from([date.min, date.max]), ZONES)
@example(date.min, ZoneInfo("Pacific/Kiritimati"))
@example(date.max, ZoneInfo("Etc/GMT+12"))
def test_every_day_begins_and_ends(day: date, zone: tzinfo) -> None:
    first, last = span_of_day(day, zone)
    assert first <= last
    if date.min < day < date.max:
        assert first.astimezone(zone).date() == last.astimezone(zone).date() == day
        assert (last + timedelta(microseconds=1)).astimezone(zone).date() == day + timedelta(days=1)


@given(st.lists(st.integers(-(2**62), 2**62), min_size=1, max_size=30), st.timedeltas(timedelta(), timedelta(days=400)))
@example([2**62, -(2**62), 0], timedelta(days=1))
def test_every_time_lies_in_a_span_around_it(micros: list[int], margin: timedelta) -> None:
    """The times of a Delta table are 64-bit: of one that an older release wrote, the year may be any."""
    times = pl.Series(micros, dtype=pl.Int64).cast(TIMESTAMP)
    spans = spans_around(times, margin)
    assert all(first <= last for first, last in spans)
    assert all(before[1] < after[0] for before, after in pairwise(spans))
    for at in times.clip(FIRST_MOMENT, LAST_MOMENT):
        assert any(first <= moved(at, -margin) and moved(at, margin) <= last for first, last in spans)


@given(st.integers())
@example(10**18)
@example(-(10**18))
def test_a_time_of_the_queue_is_one_whatever_it_says(milliseconds: int) -> None:
    at = of_milliseconds(milliseconds)
    assert FIRST_MOMENT <= at <= LAST_MOMENT
    if abs(milliseconds) < 10**13:
        assert at.timestamp() * 1000 == pytest.approx(milliseconds)
