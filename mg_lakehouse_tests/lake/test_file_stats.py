"""Files and rows are chosen by the spans of time that they meet."""

from __future__ import annotations

import itertools
import tempfile
from datetime import UTC, datetime, timedelta

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from mg_lakehouse.lake.file_stats import coarsened, files_between, meets, spans_around, within
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse_tests.lake.feeds import add_clicks

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
MARGIN = timedelta(minutes=1)


@given(st.integers(0, 999_999))
def test_a_file_is_found_by_the_microsecond_of_its_one_time(micros: int) -> None:
    """Delta's statistics have milliseconds: a file whose rows are all of 42.104400 ends at 42.104 by its log."""
    at = NOON.replace(microsecond=micros)
    with tempfile.TemporaryDirectory() as folder:
        handle = add_clicks(Lake(folder), "event_feed", a=at)
        assert len(files_between(handle, "event_at", [(at, at)])) == 1


@given(st.lists(st.integers(0, 10_000_000), min_size=1, max_size=300), st.integers(1, 200))
def test_spans_hold_every_time_and_are_few(seconds: list[int], few: int) -> None:
    times = pl.Series([NOON + timedelta(seconds=each) for each in seconds])
    spans = spans_around(times, MARGIN)
    for chosen, at_most in ((spans, 128), (coarsened(spans, few), few)):
        assert len(chosen) <= at_most
        assert chosen == sorted(chosen)
        assert all(end < start for (_, end), (start, _) in itertools.pairwise(chosen))
        assert all(any(first <= at - MARGIN and at + MARGIN <= last for first, last in chosen) for at in times)
    # Where there are fewer gaps than spans may be, nothing but the times and their margins is in them.
    if len(spans) < 128:
        assert all(any(abs(edge - at) == MARGIN for at in times) for span in spans for edge in span)
    # What was merged are the narrowest gaps.
    gaps = sorted((start - end for (_, end), (start, _) in itertools.pairwise(spans)), reverse=True)
    assert sorted((start - end for (_, end), (start, _) in itertools.pairwise(coarsened(spans, few))), reverse=True) == gaps[: few - 1]


@given(
    st.lists(st.tuples(st.integers(0, 1_000), st.integers(0, 30)), min_size=1, max_size=20),
    st.lists(st.integers(0, 1_000), min_size=1, max_size=30),
)
def test_files_and_rows_are_chosen_by_the_spans_that_they_meet(bounds: list[tuple[int, int]], seconds: list[int]) -> None:
    """As one would say it: a file whose least and greatest time are not both on the same side of a span, a row that is in one."""
    spans = spans_around(pl.Series([NOON + timedelta(seconds=each) for each in seconds]), timedelta(seconds=3))
    files = [(NOON + timedelta(seconds=first), NOON + timedelta(seconds=first + length)) for first, length in bounds]
    frame = pl.DataFrame({"min.event_at": [low for low, _ in files], "max.event_at": [high for _, high in files]})
    assert frame.select(meets("event_at", spans)).to_series().to_list() == [
        any(low <= last and first <= high for first, last in spans) for low, high in files
    ]
    rows = pl.DataFrame({"event_at": [low for low, _ in files]})
    assert rows.select(within("event_at", spans)).to_series().to_list() == [
        any(first <= low <= last for first, last in spans) for low, _ in files
    ]


def test_no_times_have_no_spans() -> None:
    assert spans_around(pl.Series([], dtype=pl.Datetime("us", "UTC")), MARGIN) == []
