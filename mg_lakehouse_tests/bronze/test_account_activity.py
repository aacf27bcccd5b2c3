"""Daily files in bronze and silver: each bundle once, and the same rows of silver whichever source brought an event first."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from mg_lakehouse.audit.conservation import conservation
from mg_lakehouse.audit.hourly_balance import balance_hours_of_sources
from mg_lakehouse.audit.queue_coverage import Compared, compare_with_queue
from mg_lakehouse.audit.uniqueness import repeated_ids
from mg_lakehouse.bronze.account_activity import FileKey, fetch_activity, files_in_bronze
from mg_lakehouse.bronze.tables import BRONZE_TABLES
from mg_lakehouse.events.catalogue import LINEAGE_COLUMNS, REJECTED_ITEMS, silver_tables
from mg_lakehouse.lake.failpoints import Failpoint, on_reached
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.maintenance.run import maintain
from mg_lakehouse.settings import Settings
from mg_lakehouse.silver.progress import unflattened
from mg_lakehouse.silver.tables import EVENT_TABLES
from mg_lakehouse.silver.update import flatten_new, flatten_sources
from mg_lakehouse.sources.web_service import Patience, WebService
from mg_lakehouse.testing.feed.feed import Feed, FeedPlan, generate
from mg_lakehouse.testing.web_service import ActivityApi, daily_files
from mg_lakehouse_tests.lake.feeds import receive, rows_of

DAY, TODAY = date(2026, 3, 1), date(2026, 3, 20)
OPENS = FileKey(DAY, "OPENS")
SMALL = Settings(batch_messages=1, activity_timezone="America/New_York")
QUICK = Patience(attempts=2, first_wait_seconds=0.01)
LINEAGE = [column.name for column in LINEAGE_COLUMNS if column.name != "_rescued_data"]


def an_open(number: int, at: str = "2026-03-01T12:00:00.000-05:00") -> str:
    return f"<OpenActivity><ActivityId>o{number}</ActivityId><Timestamp>{at}</Timestamp></OpenActivity>"


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path / "lake"))


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[ActivityApi]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with ActivityApi({OPENS: [an_open(number) for number in range(1_200)]}, today=lambda: TODAY) as server:
        yield server


def service(api: ActivityApi) -> WebService:
    return WebService(api.account_id, SecretStr(api.api_key), api.url, QUICK)


def test_a_file_becomes_bundles_of_whole_items_of_which_the_last_says_how_many_they_are(api: ActivityApi, lake: Lake) -> None:
    fetched = fetch_activity(service(api), lake, SMALL, OPENS)
    assert (fetched.new, fetched.already, fetched.commits) == (3, 0, 3)  # of 500 items at most, a commit each
    rows = rows_of(lake, "bronze", "account_activity").sort("message_id")
    assert rows["part"].to_list() == [0, 1, 2]
    assert rows["parts"].to_list() == [None, None, 3]
    assert rows.select("activity_date", "activity_type").unique().rows() == [OPENS]
    assert [body.count("<OpenActivity>") for body in rows["body"]] == [500, 500, 200]
    assert flatten_new(lake, source="account_activity").rows == 1_200


def test_what_bronze_has_is_not_fetched_and_what_is_fetched_again_adds_nothing(api: ActivityApi, lake: Lake) -> None:
    fetch_activity(service(api), lake, SMALL, OPENS)
    version = lake.open("bronze", "account_activity").version()  # type: ignore[union-attr]
    assert fetch_activity(service(api), lake, SMALL, OPENS).file is None
    assert len(api.requests) == 1
    again = fetch_activity(service(api), lake, SMALL, OPENS, again=True)
    assert (again.new, again.already) == (0, 3)
    assert lake.open("bronze", "account_activity").version() == version  # type: ignore[union-attr]


def test_an_empty_day_is_in_bronze_and_not_fetched_again(api: ActivityApi, lake: Lake) -> None:
    key = FileKey(DAY, "CLICKS")
    assert fetch_activity(service(api), lake, SMALL, key).new == 1
    assert fetch_activity(service(api), lake, SMALL, key).file is None
    report = flatten_new(lake, source="account_activity")
    assert (report.messages, report.items) == (1, 0)


def test_a_file_that_grew_adds_what_is_new(api: ActivityApi, lake: Lake) -> None:
    fetch_activity(service(api), lake, SMALL, OPENS)
    api.files[OPENS] = [*api.files[OPENS], an_open(5_000)]
    again = fetch_activity(service(api), lake, SMALL, OPENS, again=True)
    assert (again.new, again.already) == (1, 2)
    flatten_sources(lake)
    assert rows_of(lake, "silver", "opens")["activity_id"].n_unique() == rows_of(lake, "silver", "opens").height == 1_201
    assert len(files_in_bronze(lake, [DAY])[OPENS]) == 2
    assert conservation(lake, source="account_activity", above=0).holds


def test_a_file_that_was_killed_in_the_middle_is_not_there_and_is_completed(api: ActivityApi, lake: Lake) -> None:
    class KilledError(Exception):
        pass

    def kill(point: Failpoint, _: str) -> None:
        if point is Failpoint.FILE_PART_COMMITTED:
            raise KilledError

    on_reached(kill)
    try:
        with pytest.raises(KilledError):
            fetch_activity(service(api), lake, SMALL, OPENS)
    finally:
        on_reached(None)
    assert files_in_bronze(lake, [DAY]) == {}
    fetched = fetch_activity(service(api), lake, SMALL, OPENS)
    assert (fetched.new, fetched.already) == (2, 1)
    assert rows_of(lake, "bronze", "account_activity")["message_id"].n_unique() == 3


def test_of_a_malformed_file_the_readable_lands_and_the_rest_is_a_reject(api: ActivityApi, lake: Lake) -> None:
    broken = "<OpenActivity><ActivityId>bad</ActivityId><Timestamp>2026-03-01T12:00:00Z</Timestamp><Url>a & b</OpenActivity>"
    unclosed = "<OpenActivity><ActivityId>open</ActivityId>"
    api.files[OPENS] = [an_open(1), broken, an_open(2), unclosed, an_open(3)]
    fetch_activity(service(api), lake, SMALL, OPENS)
    report = flatten_new(lake, source="account_activity")
    assert (report.items, report.rows, report.rejected) == (5, 3, {"malformed_xml": 2})
    rejected = rows_of(lake, "silver", REJECTED_ITEMS)
    assert set(rejected["fragment"]) == {broken, unclosed}
    assert set(rejected["source"]) == {"account_activity"}


def test_an_event_of_both_sources_is_one_row_and_both_books_balance(api: ActivityApi, lake: Lake) -> None:
    at = datetime.now(UTC) - timedelta(minutes=1)
    # The queue writes the same time with another offset, and in it one event less and one more.
    same = [an_open(number, "2026-03-01T17:00:00.000Z") for number in range(1, 1_200)]
    receive(lake, [f"<ActivityItems>{''.join([*same, an_open(9_999)])}</ActivityItems>"], received_at=at)
    fetch_activity(service(api), lake, SMALL, OPENS)
    reports = flatten_sources(lake)
    assert {source: report.rows for source, report in reports.items()} == {"event_feed": 1_200, "account_activity": 1, "loaded_files": 0}
    assert reports["account_activity"].tables["opens"].duplicates == 1_199
    assert repeated_ids(lake, lake.open("silver", "opens")) == 0
    assert all(conservation(lake, source=source, above=0).holds for source in BRONZE_TABLES)
    books = balance_hours_of_sources(lake, at, datetime.now(UTC))
    assert books.balances
    assert (sum(hour.received for hour in books.hours), sum(hour.duplicates for hour in books.hours)) == (4, 1_199)
    assert list(compare_with_queue(lake, SMALL, [DAY], slice_rows=1)) == [Compared(*OPENS, 1_200, 1_199, 1, 1)]


def test_the_queues_day_is_that_of_the_time_zone(api: ActivityApi, lake: Lake) -> None:
    """On 8 March 2026 New York's clock goes forward: the day is from 05:00Z to 03:59:59.999Z, 23 hours."""
    day = date(2026, 3, 8)
    items = [an_open(number, "2026-03-08T04:59:59.999Z") for number in (10, 11, 12)] + [an_open(1, "2026-03-08T05:00:00.000Z")]
    items += [an_open(2, "2026-03-09T03:59:59.999Z"), an_open(3, "2026-03-09T04:00:00.000Z")]
    receive(lake, [f"<ActivityItems>{''.join(items)}</ActivityItems>"])
    fetch_activity(service(api), lake, SMALL, FileKey(day, "OPENS"))
    flatten_sources(lake)
    assert list(compare_with_queue(lake, SMALL, [day])) == [Compared(day, "OPENS", 0, 0, 0, 2)]
    fixed = SMALL.model_copy(update={"activity_timezone": "Etc/GMT+4"})  # from 04:00Z on, whatever New York's clock does
    assert list(compare_with_queue(lake, fixed, [day])) == [Compared(day, "OPENS", 0, 0, 0, 5)]


def test_two_sources_that_flatten_at_once_do_not_both_add_an_event(api: ActivityApi, lake: Lake) -> None:
    """The one looks, the other commits, the one would commit what it saw: the lane of the table refuses that."""
    receive(lake, [f"<ActivityItems>{''.join(api.files[OPENS])}</ActivityItems>"])
    fetch_activity(service(api), lake, SMALL, OPENS)
    interfered: list[str] = []

    def interfere(point: Failpoint, subject: str) -> None:
        if point is Failpoint.COMMIT_DECIDED and subject.startswith("silver/opens") and not interfered:
            interfered.append(subject)
            flatten_new(lake, source="account_activity")

    on_reached(interfere)
    try:
        flatten_new(lake)
    finally:
        on_reached(None)
    assert interfered
    assert rows_of(lake, "silver", "opens").height == 1_200
    assert repeated_ids(lake, lake.open("silver", "opens")) == 0
    assert all(conservation(lake, source=source, above=0).holds for source in BRONZE_TABLES)


def test_maintenance_takes_daily_files_too_and_nothing_that_silver_lacks(api: ActivityApi, lake: Lake) -> None:
    crowded = SMALL.model_copy(update={"small_files": 2})
    fetch_activity(service(api), lake, crowded, OPENS)
    (report,) = maintain(lake, crowded, layers=("bronze",))
    assert (report.table, report.files_before, report.files_after, report.merged) == ("account_activity", 3, 1, 1)
    assert fetch_activity(service(api), lake, crowded, OPENS).file is None
    assert unflattened(lake, "account_activity") > 0
    assert flatten_sources(lake)["account_activity"].rows == 1_200


FEED = generate(FeedPlan(seed=7, events=900, start=datetime(2026, 3, 6, 12, tzinfo=UTC), end=datetime(2026, 3, 10, 12, tzinfo=UTC)))
"""Around the night in which New York's clock is changed."""
FILES = daily_files(FEED)


def content(lake: Lake, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, list[str]]:
    """Silver's rows, sorted, without their lineage: those that ``wanted`` picks."""
    found = {}
    for table in EVENT_TABLES:
        if lake.open("silver", table) is None:
            continue
        rows = rows_of(lake, "silver", table).drop(LINEAGE).sort("activity_id").to_dicts()
        texts = [json.dumps(row, default=str, sort_keys=True) for row in rows if wanted(row)]
        if texts:
            found[table] = texts
    return found


def of_files(feed: Feed) -> Callable[[dict[str, Any]], bool]:
    """Whether a row is of a kind that there are files of: told by the feed's own author, by table or element."""
    tables = {"context_hits", "context_misses", "inbound_emails", "requests"}
    assert tables < set(silver_tables())
    elements = {"MobilePushClickActivity", "SmsClickActivity"}
    none = {row.values["activity_id"] for row in feed.truth.rows if row.table in tables}
    none |= {
        row.values["activity_id"]
        for row in feed.truth.rows
        if row.table == "unrecognized_activities" and row.values["element"] not in elements
    }
    return lambda row: row["activity_id"] not in none


@pytest.fixture(scope="module")
def feed_only(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    lake = Lake(str(tmp_path_factory.mktemp("feed") / "lake"))
    receive(lake, [bundle.body for bundle in FEED.bundles])
    flatten_sources(lake)
    return content(lake, of_files(FEED))


@pytest.fixture(scope="module")
def feed_files() -> Iterator[ActivityApi]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_PROXY", "127.0.0.1")
        with ActivityApi(FILES, today=lambda: TODAY) as server:
            yield server


def bring(lake: Lake, api: ActivityApi, what: int | FileKey) -> None:
    if isinstance(what, int):
        receive(lake, [FEED.bundles[what].body], first=what)
    else:
        fetch_activity(service(api), lake, SMALL, what)


def test_the_files_alone_give_the_rows_of_the_feed_alone(tmp_path: Path, feed_files: ActivityApi, feed_only: dict[str, list[str]]) -> None:
    lake = Lake(str(tmp_path / "lake"))
    for key in FILES:
        bring(lake, feed_files, FileKey(*key))
    flatten_sources(lake)
    assert len(feed_only) >= 10
    assert content(lake, lambda _: True) == feed_only
    assert set(pl.concat([rows_of(lake, "silver", table).select("source") for table in feed_only])["source"]) == {"account_activity"}


ORDERS = st.tuples(
    st.permutations([*range(len(FEED.bundles)), *map(FileKey._make, FILES)]),
    st.sets(st.integers(0, len(FEED.bundles) + len(FILES)), max_size=3),
)


@given(ORDERS)
@settings(max_examples=4, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_both_in_any_order_and_overlapping_give_the_same_rows(
    tmp_path_factory: pytest.TempPathFactory,
    feed_files: ActivityApi,
    feed_only: dict[str, list[str]],
    order: tuple[Sequence[int | FileKey], set[int]],
) -> None:
    lake = Lake(str(tmp_path_factory.mktemp("both") / "lake"))
    sequence, flattened_behind = order
    for place, what in enumerate(sequence):
        bring(lake, feed_files, what)
        if place in flattened_behind:
            flatten_sources(lake)
    flatten_sources(lake)
    assert content(lake, of_files(FEED)) == feed_only
    assert sum(unflattened(lake, source) for source in BRONZE_TABLES) == 0
    assert all(conservation(lake, source=source, above=0).holds for source in BRONZE_TABLES)
    assert [table for table in EVENT_TABLES if repeated_ids(lake, lake.open("silver", table))] == []
