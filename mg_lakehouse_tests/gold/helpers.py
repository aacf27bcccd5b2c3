"""What the tests of gold share: silver rows made by hand, builds in this process, tables read back."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import polars as pl
from deltalake import DeltaTable, write_deltalake

from mg_lakehouse.events.catalogue import columns_of
from mg_lakehouse.events.schemas import silver_schema
from mg_lakehouse.gold import engine
from mg_lakehouse.gold.commit import gold_spec
from mg_lakehouse.gold.engine import BuildResult
from mg_lakehouse.gold.names import project_dir
from mg_lakehouse.gold.project import compiled_project, ensure_manifest
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.settings import Settings
from mg_lakehouse.silver.tables import silver_spec

PII_KEY: Final = "a key that only tests use"
NOON: Final = datetime(2026, 3, 10, 12, tzinfo=UTC)
"""When the jobs of the tests are sent, unless a test says otherwise."""
MARTS: Final = (
    "dim_bounce_categories",
    "message_events",
    "fct_messages",
    "dim_jobs",
    "job_metrics",
    "job_metrics_daily",
    "job_bounce_categories",
    "bounce_days",
    "bounce_categories_daily",
    "restatement_log",
    "metric_dictionary",
    "domain_days",
    "mailbox_provider_daily",
    "recipient_domain_daily",
    "recipient_addresses",
    "suppression_evidence",
    "suppression_list",
    "suppression_removals",
    "unresolved_opt_outs",
    "suppression_violations",
    "engagement_curve",
    "link_metrics",
    "bounce_reasons_daily",
    "job_errors",
    "render_errors",
    "sms_metrics",
    "push_metrics",
    "sms_inbound_daily",
    "engage_metrics_daily",
    "feed_health_hourly",
    "client_days",
    "client_metrics_daily",
)
WITH_ADDRESSES: Final = frozenset({"recipient_addresses", "suppression_evidence", "suppression_list", "suppression_removals"})
"""What must say whom to remove, and what finds them."""

DERIVED: Final = tuple(name for name in MARTS if name != "restatement_log")
"""What follows from silver alone: a build from nothing gives the same."""

NUMBERS: Final = gold_spec(
    "numbers",
    [
        {"name": "request_id", "data_type": "varchar", "description": "A job."},
        {"name": "n", "data_type": "bigint", "description": "Its number."},
    ],
    stats_columns=["request_id"],
    description="Numbers of jobs.",
)
"""A small gold table for tests of commits alone."""

_numbers = itertools.count(1)


@dataclass(frozen=True)
class Event:
    """One row of a silver table: the columns that matter, the rest null."""

    table: str
    values: Mapping[str, Any]


def event(table: str, seconds: float = 0, *, at: datetime = NOON, request: str | None = "t06926-job", **values: Any) -> Event:
    """An event `seconds` after `at`. Columns by name; `email`, `phone` and `device` are short for the addresses."""
    short = {"email": "email_address", "phone": "sms_address", "device": "device_id"}
    named = {short.get(name, name): value for name, value in values.items()}
    return Event(
        table,
        {"activity_id": f"a{next(_numbers):06d}", "event_at": at + timedelta(seconds=seconds), "request_id": request} | named,
    )


def append(lake: Lake, events: Iterable[Event], *, received: datetime = NOON) -> None:
    """Append events to their silver tables, one commit for each table; ``received`` is when, where an event does not say it."""
    by_table: dict[str, list[dict[str, Any]]] = {}
    for each in events:
        unknown = set(each.values) - {column.name for column in columns_of(each.table)}
        assert not unknown, f"{each.table} has no {unknown}"
        received_at = each.values.get("received_at", received)
        derived = {"event_date": each.values["event_at"].date(), "received_at": received_at, "received_date": received_at.date()}
        lineage = {"source": "event_feed", "message_id": each.values["activity_id"], "item_index": 0}
        by_table.setdefault(each.table, []).append(dict(each.values) | derived | lineage)
    for table, rows in by_table.items():
        frame = pl.DataFrame(rows, schema=silver_schema(table))
        handle = lake.ensure(silver_spec(table))
        write_deltalake(handle, frame.to_arrow(compat_level=pl.CompatLevel.oldest()), mode="append")


def settings(lake: Lake, **changes: Any) -> Settings:
    return Settings(**{"lake_uri": lake.root, "pii_key": PII_KEY} | changes)


def run(
    lake: Lake,
    *,
    as_of: datetime = NOON + timedelta(days=1),
    project: Path | None = None,
    changes: Mapping[str, Any] | None = None,
    **options: Any,
) -> BuildResult:
    """A build, whatever becomes of it: the options of :func:`mg_lakehouse.gold.engine.run`, and ``changes`` of the settings."""
    return engine.build(lake, settings(lake, **(changes or {}), dbt_project_dir=project), as_of=as_of, **options)


def build(lake: Lake, *, select: str = "", data_tests: bool = False, **options: Any) -> BuildResult:
    """Build gold; fails the test where a node failed.

    Args:
        lake: where silver is, and gold comes to be.
        select: names of models: they and the models that they are made of are built, by default all.
        data_tests: whether dbt's tests are run on what was built: for the fixtures whose rows are many cases, and where the tests are the point.
        options: those of :func:`run`.
    """
    built = run(lake, models=with_inputs(select) if select else None, tests=None if data_tests else (), **options)
    assert built.ok, {name: node for name, node in built.nodes.items() if node.status in {"error", "fail"}}
    return built


def check_tables(lake: Lake, select: str = "", **options: Any) -> BuildResult:
    """The tests of some models, by default of all, on their tables as they stand: nothing is built."""
    compiled = compiled_project(Settings())
    names = {test.name for test in compiled.tests_of(select.split() or list(compiled.models))}
    return run(lake, models=(), tests=names, **options)


def with_inputs(select: str) -> set[str]:
    """Some models and all that they are made of."""
    compiled = compiled_project(Settings())
    names = set(select.split())
    return names.union(*map(compiled.ancestors, names))


def copied_project(folder: Path) -> Path:
    """A copy of the project in a folder, to be edited. It begins with what dbt parsed of the original: half of the time of compiling it."""
    parsed = ensure_manifest(Settings()).parents[1] / "compile-partial_parse.msgpack"
    copy = Path(shutil.copytree(project_dir(Settings()), folder / "dbt_project", ignore=shutil.ignore_patterns("target", "logs")))
    (copy / "target").mkdir()
    shutil.copy(parsed, copy / "target")
    return copy


def statuses(built: BuildResult) -> dict[str, str]:
    """What became of each node, by its name."""
    return {node.name: node.status for node in built.nodes.values()}


def messages(built: BuildResult) -> dict[str, str]:
    """What a build says of each node, by its name."""
    return {node.name: node.message for node in built.nodes.values()}


def table(lake: Lake, name: str) -> pl.DataFrame:
    """A gold table, read by delta-rs and Polars: not by what wrote it."""
    return pl.read_delta(lake.uri_of("gold", name), storage_options=lake.storage_options())


def version(lake: Lake, name: str) -> int:
    return int(_opened(lake, name).version())


def _opened(lake: Lake, name: str) -> DeltaTable:
    return DeltaTable(lake.uri_of("gold", name), storage_options=lake.storage_options())


def versions(lake: Lake) -> dict[str, int]:
    return {name: version(lake, name) for name in MARTS}


def replaced(lake: Lake, name: str) -> str | None:
    """The condition on the rows that the table's newest commit replaced; ``None`` where it replaced all of them."""
    predicate = _opened(lake, name).history(1)[0]["operationParameters"].get("predicate")
    return None if predicate is None else str(predicate)


def one(frame: pl.DataFrame, **where: Any) -> dict[str, Any]:
    """The only row that has these values."""
    rows = frame.filter(*(pl.col(name).eq_missing(pl.lit(value)) for name, value in where.items()))
    assert rows.height == 1, f"{rows.height} rows have {where}"
    return rows.row(0, named=True)


def rows_of(lake: Lake, name: str) -> list[tuple[Any, ...]]:
    """All rows of a table in an order that depends on their content only."""
    return sorted(table(lake, name).rows(), key=repr)


def log_text(lake: Lake) -> str:
    """All text that gold's Delta logs hold."""
    return "\n".join(file.read_text() for file in sorted(Path(lake.root, "gold").glob("*/_delta_log/*.json")))
