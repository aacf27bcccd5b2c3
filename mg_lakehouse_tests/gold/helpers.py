"""What the tests of gold share: silver rows made by hand, builds in this process, tables read back."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, Final

import polars as pl
from dbt.adapters.duckdb.connections import DuckDBConnectionManager
from dbt.cli.main import dbtRunner, dbtRunnerResult
from dbt.contracts.graph.manifest import Manifest
from deltalake import DeltaTable, write_deltalake

from mg_lakehouse._util.environment import set_environment
from mg_lakehouse.events.catalogue import columns_of
from mg_lakehouse.events.schemas import silver_schema
from mg_lakehouse.gold.commit import gold_spec
from mg_lakehouse.gold.contract import AS_OF
from mg_lakehouse.gold.dbt_project import NOT_BUILT, dbt_environment
from mg_lakehouse.gold.names import project_dir
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.settings import Settings
from mg_lakehouse.silver.tables import silver_spec

PII_KEY: Final = "a key that only tests use"
NOON: Final = datetime(2026, 3, 10, 12, tzinfo=UTC)
"""When the jobs of the tests are sent, unless a test says otherwise."""
MARTS: Final = (
    "dim_bounce_categories",
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


@dataclass(frozen=True)
class Built:
    """What a build did: the status of each node by its short name, and whether all went well."""

    ok: bool
    statuses: Mapping[str, str]
    messages: Mapping[str, str] = field(default_factory=dict)


def run_dbt(
    lake: Lake,
    arguments: Sequence[str],
    *,
    as_of: datetime = NOON + timedelta(days=1),
    environment: Mapping[str, str] | None = None,
) -> Built:
    """dbt in this process, which saves it the seconds that starting takes; each run has a DuckDB of its own.

    The project is parsed once for a process and for each set of variables, and no run writes artefacts: together 1.2 of the 3 CPU seconds
    that a build of two models took.
    """
    project = dict(environment or {}).get("DBT_PROJECT_DIR") or str(project_dir(Settings()))
    variables = dbt_environment(settings(lake), lake) | {
        "MG_PII_KEY": PII_KEY,
        AS_OF: as_of.isoformat(),
        "DBT_LOG_PATH": f"{lake.root}-logs",
    }
    with set_environment(variables | dict(environment or {})):
        manifest = _parsed(project, _variables(arguments)).deepcopy()  # type: ignore[no-untyped-call]
        result = _invoke(arguments, manifest)
    if result.exception is not None:
        raise result.exception
    nodes = list(result.result or [])  # type: ignore[arg-type]
    return Built(
        ok=result.success,
        statuses={node.node.unique_id.split(".", 2)[2]: str(node.status) for node in nodes},
        messages={node.node.unique_id.split(".", 2)[2]: str(node.message) for node in nodes},
    )


def _invoke(arguments: Sequence[str], manifest: Manifest | None) -> dbtRunnerResult:
    _forget_connections()
    try:
        return dbtRunner(manifest=manifest).invoke(["--quiet", "--no-write-json", *arguments])
    finally:
        _forget_connections()


def _variables(arguments: Sequence[str]) -> str:
    """The value of ``--vars``: what a parsed project depends on beside its files."""
    return arguments[arguments.index("--vars") + 1] if "--vars" in arguments else "{}"


@cache
def _parsed(project: str, variables: str) -> Manifest:
    """The parsed project. A run changes the nodes that it compiles, so each gets a copy of its own."""
    with tempfile.TemporaryDirectory() as folder:
        # Another project, or variables of its own, would take the place of what the next run could go on from.
        usual = (project, variables) == (str(project_dir(Settings())), "{}")
        with set_environment({} if usual else {"DBT_TARGET_PATH": folder}):
            result = _invoke(["parse", "--vars", variables], None)
    assert isinstance(result.result, Manifest), result.exception
    return result.result


def build(
    lake: Lake,
    *arguments: str,
    select: str = "",
    data_tests: bool = False,
    as_of: datetime = NOON + timedelta(days=1),
    environment: Mapping[str, str] | None = None,
) -> Built:
    """`dbt build` without the unit tests; fails the test where a node failed.

    Args:
        lake: where silver is, and gold comes to be.
        arguments: what dbt is called with besides.
        select: names of models: they and the models that they are made of are built, by default all.
        data_tests: whether dbt's tests are run on what was built: for the fixtures whose rows are many cases, and where the tests are the point.
        as_of: the time that the build is made for.
        environment: variables besides those of the lake.
    """
    selected = ["--select", *(f"+{name}" for name in select.split())] if select else []
    excluded = [*NOT_BUILT, *(() if data_tests else ("resource_type:test",))]
    built = run_dbt(lake, ["build", *selected, "--exclude", *excluded, *arguments], as_of=as_of, environment=environment)
    problems = {name: built.messages[name] for name, status in built.statuses.items() if status in {"error", "fail"}}
    assert not problems, problems
    return built


def _forget_connections() -> None:
    forget: Any = DuckDBConnectionManager.close_all_connections
    forget()


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
