"""Maintenance changes where rows lie and nothing else: not the rows, not what a reader of the change feed sees, not who wrote what."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake

from mg_lakehouse.audit.conservation import conservation
from mg_lakehouse.audit.hourly_balance import balance_hours
from mg_lakehouse.bronze.append import append_batch
from mg_lakehouse.errors import PermanentError
from mg_lakehouse.events.catalogue import REJECTED_ITEMS, silver_tables
from mg_lakehouse.events.schemas import silver_schema
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.lake.ledger import posted_batches
from mg_lakehouse.location import Layer
from mg_lakehouse.maintenance.run import TableReport, maintain
from mg_lakehouse.settings import Settings
from mg_lakehouse.silver.progress import unflattened
from mg_lakehouse.silver.tables import silver_spec
from mg_lakehouse.silver.update import flatten_new
from mg_lakehouse.testing.feed.feed import FeedPlan, generate
from mg_lakehouse.testing.samples import samples
from mg_lakehouse_tests.faults.invariants import column, in_bronze_once, nothing_is_twice
from mg_lakehouse_tests.lake.feeds import START, batch, bundles, receive, rows_of

BODIES = list(samples().values())
NOW = datetime.now(UTC)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path / "lake"))


def settings(**changes: Any) -> Settings:
    """Settings that keep nothing of the past, which the variables do not allow, and merge three small files."""
    return Settings(small_files=2).model_copy(update={"keep_files_days": 0, "keep_log_days": 0, **changes})


def kept(lake: Lake, **changes: Any) -> dict[str, TableReport]:
    """Maintain everything; the reports by table."""
    return {report.table: report for report in maintain(lake, settings(**changes))}


def opened(lake: Lake, layer: Layer, table: str) -> DeltaTable:
    handle = lake.open(layer, table)
    assert handle is not None
    return handle


def files_of(lake: Lake, layer: Layer, table: str) -> set[str]:
    """Names of all data files in the table's folder, whether or not it knows them."""
    return {path.name for path in Path(lake.uri_of(layer, table)).rglob("*.parquet") if "_delta_log" not in path.parts}


def feed_of(lake: Lake, layer: Layer, table: str, first: int, last: int) -> list[tuple[Any, ...]]:
    """What the change feed shows between two versions, in an order that depends on its content only."""
    feed = pl.DataFrame(opened(lake, layer, table).load_cdf(first, last).read_all())
    return sorted(feed.rows(), key=repr)


def age(path: Path, days: float) -> None:
    os.utime(path, (time.time() - days * 86_400,) * 2)


def age_log(lake: Lake, layer: Layer, table: str, *, days: float = 40) -> None:
    for path in Path(lake.uri_of(layer, table), "_delta_log").glob("*"):
        age(path, days)


def test_a_closed_day_is_compacted_once_and_its_rows_and_its_feed_stay(lake: Lake) -> None:
    for number in range(6):
        receive(lake, [*BODIES[:9], f"<broken{number}"], first=10 * number)
        flatten_new(lake)
    everything: list[tuple[Layer, str]] = [("bronze", "event_feed"), *(("silver", table) for table in silver_tables())]
    tables = [(layer, table) for layer, table in everything if lake.open(layer, table) is not None]
    versions = {name: opened(lake, *name).version() for name in tables}
    rows = {name: sorted(rows_of(lake, *name).rows(), key=repr) for name in tables}
    feeds = {name: feed_of(lake, *name, 1, versions[name]) for name in tables}
    reports = kept(lake, keep_files_days=7, keep_log_days=7)
    assert reports["event_feed"].files_before == reports[REJECTED_ITEMS].files_before == 6
    assert {report.files_after for report in reports.values()} == {1}
    for layer, table in tables:
        name: tuple[Layer, str] = (layer, table)
        assert sorted(rows_of(lake, *name).rows(), key=repr) == rows[name], name
        assert feed_of(lake, *name, 1, versions[name]) == feeds[name], name
        if (newest := opened(lake, *name).version()) > versions[name]:
            assert feed_of(lake, *name, versions[name] + 1, newest) == [], name
    assert not any(report.anything for report in kept(lake, keep_files_days=7, keep_log_days=7).values())
    assert conservation(lake, above=0).holds
    assert balance_hours(lake, START, START).balances


def test_todays_files_are_merged_when_they_are_many_and_large_ones_are_left(lake: Lake) -> None:
    long = {f"long{number}": os.urandom(700_000).hex() for number in range(2)}
    append_batch(lake, batch(long, batch_id="long", sent_at=NOW, received_at=NOW), "long")
    large = files_of(lake, "bronze", "event_feed")
    for number in range(3):
        receive(lake, bundles(2), first=2 * number, received_at=NOW)
    (report,) = maintain(lake, settings(compacted_file_bytes=2**20, small_files=3), layers=("bronze",), full=False)
    assert (report.merged, report.files_after) == (0, 4)
    (report,) = maintain(lake, settings(compacted_file_bytes=2**20), layers=("bronze",), full=False)
    assert (report.merged, report.files_before, report.files_after) == (1, 4, 2)
    assert large < {Path(uri).name for uri in opened(lake, "bronze", "event_feed").file_uris()}


def test_small_files_of_a_closed_day_wait_for_the_full_pass(lake: Lake) -> None:
    for number in range(6):
        receive(lake, bundles(2), first=2 * number)
    (report,) = maintain(lake, settings(), layers=("bronze",), full=False)
    assert not report.anything


def write_clicks(lake: Lake) -> None:
    """A file for each of six hours, and in each a row of long ago: unsorted, every file seems to hold the months between."""
    handle = lake.ensure(silver_spec("clicks"))
    schema = silver_schema("clicks")
    for hour in range(6):
        start = START + timedelta(hours=hour)
        late = start - timedelta(days=100 + hour)
        times = [late, *(start + timedelta(milliseconds=(number * 7919) % 60_000) for number in range(40_000))]
        rows = pl.DataFrame({"event_at": times}, schema={"event_at": pl.Datetime("us", "UTC")}).with_columns(
            activity_id=pl.format("{}-{}", pl.lit(hour), pl.int_range(pl.len())), received_date=pl.lit(START.date())
        )
        empty = [pl.lit(None, dtype).alias(name) for name, dtype in schema.items() if name not in rows.columns]
        frame = rows.with_columns(empty).select(schema.names()).cast(schema)
        write_deltalake(handle, frame.to_arrow(compat_level=pl.CompatLevel.oldest()), mode="append")


def test_a_closed_day_is_sorted_by_event_time_in_files_and_row_groups_that_do_not_overlap(lake: Lake) -> None:
    write_clicks(lake)
    before = rows_of(lake, "silver", "clicks")
    (report,) = (each for each in maintain(lake, settings(compacted_file_bytes=2**20, sort_bytes=2**26)) if each.table == "clicks")
    assert (report.sorted, report.notes) == (1, ())
    groups: list[tuple[datetime, datetime]] = []
    for uri in opened(lake, "silver", "clicks").file_uris():
        metadata = pq.ParquetFile(uri).metadata
        at_column = metadata.schema.names.index("event_at")
        for group in range(metadata.num_row_groups):
            statistics: Any = metadata.row_group(group).column(at_column).statistics
            groups.append((statistics.min, statistics.max))
    groups.sort()
    assert len(groups) > 1
    assert all(high <= low for (_, high), (low, _) in pairwise(groups))
    assert sum(high - low > timedelta(days=1) for low, high in groups) == 1
    assert rows_of(lake, "silver", "clicks").sort("activity_id").equals(before.sort("activity_id"))
    assert not any(each.anything for each in maintain(lake, settings(compacted_file_bytes=2**20, keep_files_days=7)))


def test_a_straggler_after_the_sort_is_no_reason_to_sort_the_day_again(lake: Lake) -> None:
    plan = FeedPlan(seed=5, events=3_000, start=START - timedelta(days=20), end=START)
    bodies = [bundle.body for bundle in generate(plan).bundles]
    # Every other bundle: the times of the two files overlap.
    receive(lake, bodies[::2])
    flatten_new(lake)
    receive(lake, bodies[1::2], first=1_000)
    flatten_new(lake)
    assert kept(lake)["deliveries"].sorted == 1
    straggler = next(body for name, body in samples().items() if "Delivered" in name)
    receive(lake, [straggler], first=5_000)
    flatten_new(lake)
    assert opened(lake, "silver", "deliveries").get_add_actions().num_rows == 2
    assert kept(lake)["deliveries"].sorted == 0


def test_no_content_reaches_the_log(lake: Lake) -> None:
    """Statistics are of ids and times after a rewrite too, in the entries and in the checkpoints."""
    secret = "planted.address@example.com"
    for number in range(4):
        planted = [body.replace("@", f"-{secret}@") if "@" in body else f"{body}<!-- {secret} -->" for body in BODIES]
        receive(lake, [*planted, f"<broken {secret}"], first=100 * number)
        flatten_new(lake)
    kept(lake)
    logs = [path for path in Path(lake.root).rglob("_delta_log/*") if path.is_file()]
    assert any(path.name.endswith(".checkpoint.parquet") for path in logs)
    for path in logs:
        text = str(pl.read_parquet(path).to_dicts()) if path.suffix == ".parquet" else path.read_text()
        assert secret not in text, path.name
        assert "ActivityItems" not in text, path.name


def test_bodies_are_written_without_a_dictionary(lake: Lake) -> None:
    for number in range(3):
        receive(lake, BODIES, first=100 * number)
    kept(lake)
    (uri,) = opened(lake, "bronze", "event_feed").file_uris()
    metadata = pq.ParquetFile(uri).metadata.row_group(0)
    columns = {metadata.column(index).path_in_schema: metadata.column(index) for index in range(metadata.num_columns)}
    assert "RLE_DICTIONARY" not in columns["body"].encodings
    assert {column.compression for column in columns.values()} == {"ZSTD"}


def test_the_protocol_survives_compaction_checkpoint_and_a_log_that_was_cut(lake: Lake) -> None:
    """Markers, lane and silver's progress are in the checkpoint: what comes again is absorbed, by a process that knows only the table."""
    for number in range(60):
        receive(lake, bundles(2), first=2 * number)
    for _ in range(2):
        flatten_new(lake)
        kept(lake)
    age_log(lake, "bronze", "event_feed")
    age_log(lake, "silver", REJECTED_ITEMS)
    flatten_new(lake)
    kept(lake)
    entries = sorted(path.name for path in Path(lake.uri_of("bronze", "event_feed"), "_delta_log").glob("*.json"))
    assert int(entries[0].removesuffix(".json")) > 50
    published = [f"m{number}" for number in range(120)]
    in_bronze = rows_of(lake, "bronze", "event_feed")["message_id"].to_list()
    assert sorted(in_bronze) == sorted(published)
    handle = opened(lake, "bronze", "event_feed")
    assert (handle.transaction_version("lane"), handle.transaction_version("batch:batch-8")) == (60, 1)
    again = batch({"m8": "other", "m9": "other"}, batch_id="batch-8")
    assert append_batch(lake, again, "batch-8") == ({"m8", "m9"}, 0), "a batch that landed is not known as its own"
    assert append_batch(lake, again, "another") == (set(), 2), "a redelivered message is not known"
    assert flatten_new(lake).messages == 0
    assert rows_of(lake, "bronze", "event_feed").height == 120


def test_what_silver_has_not_flattened_is_never_removed(lake: Lake) -> None:
    """However short the past is kept: the files that bronze's unread versions added stay, though they were compacted, and the log."""
    receive(lake, BODIES[:9])
    flatten_new(lake)
    for number in range(3):
        receive(lake, BODIES[9 + number :: 3], first=20 * (number + 1))
    before = files_of(lake, "bronze", "event_feed")
    report = kept(lake)["event_feed"]
    assert report.merged == 1
    assert report.removed.files == 0
    assert report.notes == ("silver has not read old versions yet: they are kept",)
    assert before < files_of(lake, "bronze", "event_feed")
    age_log(lake, "bronze", "event_feed")
    kept(lake)
    assert Path(lake.uri_of("bronze", "event_feed"), "_delta_log", f"{1:020}.json").exists()
    assert flatten_new(lake).messages == 8
    assert conservation(lake, above=0).holds
    untouched = Lake(f"{lake.root}-untouched")
    receive(untouched, BODIES)
    flatten_new(untouched)
    for table in silver_tables():
        assert len(column(lake, "silver", table, "message_id")) == len(column(untouched, "silver", table, "message_id")), table
    report = kept(lake)["event_feed"]
    assert (report.removed.files, report.notes) == (4, ())
    assert report.removed.bytes > 0
    assert len(files_of(lake, "bronze", "event_feed")) == 1


def test_silver_says_so_when_somebody_else_cut_the_log_that_it_needs(lake: Lake) -> None:
    """A change feed that may start out of range gives no rows and no error: the messages would be passed over."""
    for number in range(60):
        receive(lake, bundles(1), first=number)
    age_log(lake, "bronze", "event_feed")
    opened(lake, "bronze", "event_feed").cleanup_metadata()
    with pytest.raises(PermanentError, match=r"^bronze/event_feed \(versions 1 to .* no longer in its Delta log"):
        flatten_new(lake)
    assert unflattened(lake) == 60


def test_orphans_go_when_they_are_old_and_what_was_replaced_lately_stays(lake: Lake) -> None:
    """A running writer's file is young; a file that was replaced today may be older than any orphan."""
    for number in range(3):
        receive(lake, bundles(2), first=2 * number)
    flatten_new(lake)
    folder = Path(lake.uri_of("bronze", "event_feed"), "received_date=2026-03-01")
    for path in folder.iterdir():
        age(path, 100)
    for name, days in (("young.parquet", 6.9), ("old.parquet", 7.1)):
        (folder / name).write_bytes(b"half a file")
        age(folder / name, days)
    report = kept(lake, keep_files_days=7, keep_log_days=30)["event_feed"]
    assert (report.merged, report.removed.files, report.notes) == (1, 1, ())
    assert len(files_of(lake, "bronze", "event_feed")) == 3 + 1 + 1
    assert not (folder / "old.parquet").exists()
    assert (folder / "young.parquet").exists()
    in_bronze_once(lake, [f"m{number}" for number in range(6)])


def test_a_dry_run_says_what_would_be_done_and_does_nothing(lake: Lake) -> None:
    for number in range(6):
        receive(lake, BODIES, first=100 * number)
        flatten_new(lake)
    before = {path: path.stat().st_mtime_ns for path in Path(lake.root).rglob("*")}
    dry = {report.table: report for report in maintain(lake, settings(), dry_run=True)}
    assert {path: path.stat().st_mtime_ns for path in Path(lake.root).rglob("*")} == before
    done = kept(lake, keep_files_days=7)
    assert {(table, report.merged, report.sorted) for table, report in dry.items()} == {
        (table, report.merged, report.sorted) for table, report in done.items()
    }
    again = {report.table: report for report in maintain(lake, settings(), dry_run=True)}
    assert again["event_feed"].removed.files == 6


def test_how_long_the_past_is_kept_is_written_into_the_tables_where_it_is_not_deltas_own(lake: Lake) -> None:
    """And the change feed can be read across that commit."""
    receive(lake, bundles(2))
    list(maintain(lake, Settings()))
    assert opened(lake, "bronze", "event_feed").version() == 1
    list(maintain(lake, Settings(keep_files_days=3, keep_log_days=10)))
    list(maintain(lake, Settings(keep_files_days=3, keep_log_days=10)))
    handle = opened(lake, "bronze", "event_feed")
    assert handle.version() == 2
    assert handle.metadata().configuration["delta.deletedFileRetentionDuration"] == "interval 3 days"
    assert handle.metadata().configuration["delta.logRetentionDuration"] == "interval 10 days"
    receive(lake, bundles(2), first=2)
    in_bronze_once(lake, ["m0", "m1", "m2", "m3"])
    assert flatten_new(lake).messages == 4
    assert [posted.version for posted in posted_batches(handle)] == [1]
    nothing_is_twice(lake)


def test_a_day_that_does_not_fit_the_memory_of_a_sort_is_merged_instead(lake: Lake) -> None:
    write_clicks(lake)
    before = rows_of(lake, "silver", "clicks")
    report = kept(lake, sort_bytes=2**20)["clicks"]
    assert report.notes == ("2026-03-01 is too large to sort within MG_SORT_BYTES: it was merged unsorted",)
    assert (report.files_before, report.files_after) == (6, 1)
    assert rows_of(lake, "silver", "clicks").sort("activity_id").equals(before.sort("activity_id"))
