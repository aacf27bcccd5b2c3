"""What a change of silver touches in the models that follow days rather than jobs and in those made whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from deltalake import CommitProperties, DeltaTable, write_deltalake

from mg_lakehouse.gold import commit as gold
from mg_lakehouse.gold.contract import Scope
from mg_lakehouse.gold.model import Model
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.lake.ledger import SliceLedger
from mg_lakehouse.silver.tables import silver_spec
from mg_lakehouse_tests.gold.helpers import NOON, append, event
from mg_lakehouse_tests.gold.sessions import DAY, Session, make

HEALTH = [("event_type", "varchar"), ("received_hour", "timestamptz"), ("received_date", "date"), ("duplicates", "bigint")]


def model(scope: Scope, *silver: str, columns: Sequence[tuple[str, str]] = (("request_id", "varchar"),), **options: Any) -> Model:
    described = [{"name": name, "data_type": data_type, "description": ""} for name, data_type in columns]
    return Model(gold.gold_spec("numbers", described, stats_columns=["request_id"], description=""), scope, silver=silver, **options)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """Three days with two deliveries each, each in a file of its own, received a day after they happened."""
    lake = Lake(str(tmp_path / "lake"))
    for number in range(3):
        at = NOON + number * DAY
        append(lake, [event("deliveries", second, request=f"t-{number}", at=at) for second in range(2)], received=at + DAY)
    return lake


def days(*numbers: int) -> list[date]:
    return [(NOON + number * DAY).date() for number in numbers]


def test_a_model_of_event_days_sees_all_rows_of_the_days_of_what_changed_and_replaces_those(lake: Lake) -> None:
    wanted = model("event_days", "deliveries", "opens")
    make(lake, wanted)
    append(lake, [event("deliveries", 9, request="late", at=NOON + DAY)], received=NOON + 9 * DAY)
    session = Session(lake)
    plan = session.plan(wanted)
    assert (plan.mode, plan.days) == ("incremental", days(1))
    assert plan.predicate == f"event_date IN (DATE '{days(1)[0]}')"
    assert session.shown(wanted, "deliveries") == [("late", 1), ("t-1", 1), ("t-1", 1)]
    assert session.shown(wanted, "opens") == []
    assert session.files(wanted, "deliveries") == 2


def test_a_model_of_days_of_receipt_goes_by_when_the_rows_came(lake: Lake) -> None:
    wanted = model("received_days", "deliveries")
    make(lake, wanted)
    append(lake, [event("deliveries", 9, request="late", at=NOON)], received=NOON + 3 * DAY)
    session = Session(lake)
    plan = session.plan(wanted)
    assert (plan.mode, plan.days) == ("incremental", days(3))
    assert plan.predicate == f"received_date IN (DATE '{days(3)[0]}')"
    assert session.shown(wanted, "deliveries") == [("late", 0), ("t-2", 2), ("t-2", 2)]


@pytest.mark.parametrize("scope", ["event_days", "received_days", "whole"])
def test_nothing_is_built_where_nothing_came(lake: Lake, scope: Scope) -> None:
    wanted = model(scope, "deliveries")
    make(lake, wanted)
    assert Session(lake).plan(wanted).mode == "unchanged"
    # A commit without rows changes nothing either.
    append(lake, [event("opens")])
    assert Session(lake).plan(wanted).mode == "unchanged"


def test_a_model_made_whole_sees_everything_as_soon_as_anything_came(lake: Lake) -> None:
    wanted = model("whole", "deliveries")
    make(lake, wanted)
    append(lake, [event("deliveries", request="late", at=NOON + DAY)])
    session = Session(lake)
    plan = session.plan(wanted)
    assert (plan.mode, plan.predicate, plan.chunks) == ("full", None, 1)
    assert len(session.shown(wanted, "deliveries")) == 7


def drop_copies(lake: Lake, table: str, hours: dict[str, int], *, rows: int = 0) -> DeltaTable:
    """A commit of silver that dropped copies, and may have brought rows."""
    handle = lake.ensure(silver_spec(table))
    ledger = SliceLedger("event_feed", 0, 1, rows=rows, duplicates=sum(hours.values()), hours=hours)
    empty = pl.DataFrame(schema={field.name: pl.Null for field in handle.schema().fields}).cast(pl.Schema(pl.read_delta(handle).schema))
    write_deltalake(handle, empty.to_arrow(compat_level=pl.CompatLevel.oldest()), mode="append",
                    commit_properties=CommitProperties(custom_metadata=ledger.metadata()))  # fmt: skip
    return handle


def duplicates(session: Session, wanted: Model) -> list[tuple[Any, ...]]:
    query = f"select silver_table, received_hour, sum(duplicates) from {wanted.schema}.scoped_duplicates group by all order by all"
    return session.cursor().execute(query).fetchall()


def hour(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_copies_that_were_dropped_are_counted_by_the_hour_though_no_row_came(lake: Lake) -> None:
    drop_copies(lake, "deliveries", {"2026-03-10T11": 2, "2026-03-10T12": 1})
    wanted = model("received_days", "deliveries", columns=HEALTH, counts_duplicates=True)
    session = Session(lake)
    assert session.plan(wanted).mode == "full"
    found = duplicates(session, wanted)
    assert found == [("deliveries", hour("2026-03-10T11"), 2), ("deliveries", hour("2026-03-10T12"), 1)]
    # What the model wrote is carried on, and what came since is added to it, on its days only.
    commit(lake, wanted, session, found)
    drop_copies(lake, "deliveries", {"2026-03-10T12": 5})
    drop_copies(lake, "deliveries", {"2026-03-20T01": 4})
    session = Session(lake)
    plan = session.plan(wanted)
    assert (plan.mode, plan.days) == ("incremental", [date(2026, 3, 10), date(2026, 3, 20)])
    assert duplicates(session, wanted) == [
        ("deliveries", hour("2026-03-10T11"), 2),
        ("deliveries", hour("2026-03-10T12"), 6),
        ("deliveries", hour("2026-03-20T01"), 4),
    ]


def test_a_model_made_anew_keeps_the_copies_that_the_log_no_longer_tells_of(lake: Lake) -> None:
    drop_copies(lake, "deliveries", {"2026-03-10T11": 2})
    wanted = model("received_days", "deliveries", columns=HEALTH, counts_duplicates=True)
    session = Session(lake)
    session.plan(wanted)
    commit(lake, wanted, session, duplicates(session, wanted))
    handle = lake.ensure(silver_spec("deliveries"))
    handle.create_checkpoint()
    for number in range(handle.version()):
        Path(lake.uri_of("silver", "deliveries"), "_delta_log", f"{number:020}.json").unlink()
    session = Session(lake)
    anew = replace(wanted, definition=7)
    assert session.plan(anew).mode == "full"
    assert duplicates(session, anew) == [("deliveries", hour("2026-03-10T11"), 2)]


def commit(lake: Lake, wanted: Model, session: Session, found: Sequence[tuple[Any, ...]]) -> None:
    rows = pl.DataFrame(
        {
            "event_type": [table for table, _, _ in found],
            "received_hour": [at for _, at, _ in found],
            "received_date": [at.date() for _, at, _ in found],
            "duplicates": [int(number) for _, _, number in found],
        },
        schema=wanted.spec.schema,
    ).to_arrow(compat_level=pl.CompatLevel.oldest())
    included = session.plan(wanted).included
    gold.commit(lake, wanted.spec, rows.to_reader, handle=None, predicate=None, definition=wanted.definition, silver=included,
                silver_ids=session.planner.table_ids)  # fmt: skip


def test_days_are_in_order(lake: Lake) -> None:
    wanted = model("event_days", "deliveries")
    make(lake, wanted)
    append(lake, [event("deliveries", at=NOON + timedelta(days=number)) for number in (5, 3, 4)])
    assert Session(lake).plan(wanted).days == days(3, 4, 5)
