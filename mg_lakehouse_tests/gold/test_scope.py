"""What a gold model may look at: the rows of its keys, in parts where they are many, out of the files that can hold them."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from mg_lakehouse.gold import commit as gold
from mg_lakehouse.gold.model import Input, Model, Plan
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.silver.tables import silver_spec
from mg_lakehouse_tests.gold.helpers import NOON, append, build, event
from mg_lakehouse_tests.gold.sessions import DAY, Session, make, model


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """Four days with a job of 3 deliveries each, an open of the first day's job on the last day, and an orphan on the second."""
    lake = Lake(str(tmp_path_factory.mktemp("scope") / "lake"))
    for number in range(4):
        append(lake, [event("deliveries", second, request=f"{'tb'[number % 2]}-{number}", at=NOON + number * DAY) for second in range(3)])
    append(lake, [event("opens", request=None, at=NOON + DAY)])
    append(lake, [event("opens", request="t-0", at=NOON + 3 * DAY)])
    return lake


def test_keys_with_few_rows_are_one_part_that_reads_the_whole_table(lake: Lake) -> None:
    session, wanted = Session(lake), model()
    plan = session.plan(wanted)
    assert (plan.mode, plan.chunks) == ("full", 1)
    assert len(session.shown(wanted, "deliveries")) == 12
    assert session.files(wanted, "deliveries") == 4


def test_each_part_shows_some_keys_whole_and_every_key_is_in_one(lake: Lake) -> None:
    session, wanted = Session(lake, part_rows=6), model()
    plan = session.plan(wanted)
    assert plan.chunks == 2
    seen: list[tuple[Any, Any]] = []
    for part in range(plan.chunks):
        session.planner.show_chunk(plan, part)
        seen.append((session.shown(wanted, "deliveries"), session.shown(wanted, "opens")))
    # In the order of their days: a job of 4 rows, one of 3 that begins within the first 6, and then the orphan and two jobs of 3.
    assert seen == [
        ([("b-1", 1)] * 3 + [("t-0", 0)] * 3, [("t-0", 3)]),
        ([("b-3", 3)] * 3 + [("t-2", 2)] * 3, [(None, 1)]),
    ]


def test_a_part_reads_the_files_of_its_days(lake: Lake) -> None:
    session, wanted = Session(lake, part_rows=1), model()
    plan = session.plan(wanted)
    read = []
    for part in range(plan.chunks):
        session.planner.show_chunk(plan, part)
        read.append((session.files(wanted, "deliveries"), session.files(wanted, "opens")))
    # The oldest job has an open on another day; the orphan has its file alone.
    assert read == [(1, 1), (1, 0), (0, 1), (1, 0), (1, 0)]


def test_what_belongs_to_no_job_is_no_part_of_a_model_of_jobs(lake: Lake) -> None:
    session, wanted = Session(lake, part_rows=1), model(orphan_day=None)
    assert session.plan(wanted).chunks == 4


def test_a_job_is_never_cut(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path / "lake"))
    append(lake, [event("deliveries", second, request="b-large") for second in range(20)])
    append(lake, [event("deliveries", request="b-small", at=NOON + DAY)])
    session, wanted = Session(lake, part_rows=5), model(silver=("deliveries",))
    plan = session.plan(wanted)
    shown = []
    for part in range(plan.chunks):
        session.planner.show_chunk(plan, part)
        shown.append(len(session.shown(wanted, "deliveries")))
    assert shown == [20, 1]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """Gold of four days, each in files of its own whose ids all span that of the job `k`: delivered on the second day, opened on the last."""
    lake = Lake(str(tmp_path_factory.mktemp("scope") / "built"))
    for number in range(4):
        of_day = [f"b-{number}", f"z-{number}", *(["k"] if number == 1 else [])]
        for table in ("deliveries", "requests"):
            append(lake, [event(table, request=job, recipient_id="1", at=NOON + number * DAY) for job in of_day])
    append(lake, [event("opens", request="k", recipient_id="1", at=NOON + 3 * DAY)])
    build(lake, select="dim_jobs job_metrics_daily suppression_evidence")
    return lake


@pytest.fixture
def grown(built: Lake, tmp_path: Path) -> Lake:
    shutil.copytree(built.root, tmp_path / "lake")
    return Lake(str(tmp_path / "lake"))


def defined(lake: Lake, **options: Any) -> Model:
    """A model by the definitions that the lake's gold was made by."""
    handle = lake.open("gold", "job_metrics_daily")
    assert handle is not None
    definition = gold.watermarks_of(handle, {}, ()).definition
    assert definition is not None
    return replace(model(**options), definition=definition)


LATE = event("opens", request="k", recipient_id="1", at=NOON + 5 * DAY)


def test_a_refresh_reads_the_files_of_the_days_on_which_its_jobs_have_events(grown: Lake) -> None:
    wanted = defined(grown)
    make(grown, wanted)
    append(grown, [LATE])
    session = Session(grown)
    plan = session.plan(wanted)
    assert (plan.mode, plan.requests) == ("incremental", ["k"])
    # Of the second day and of the last; the ids alone would have left none of the four out.
    assert session.files(wanted, "deliveries") == 2
    assert session.shown(wanted, "deliveries") == [("k", 1)]
    assert session.shown(wanted, "opens") == [("k", 3), ("k", 5)]


def test_what_came_since_the_days_were_written_down_is_looked_at_too(grown: Lake) -> None:
    wanted = defined(grown)
    # The model has it, the table of the days does not: its build failed, say.
    append(grown, [event("deliveries", request=job, recipient_id="2", at=NOON + 2 * DAY) for job in ("a", "k", "z")])
    make(grown, wanted)
    append(grown, [LATE])
    session = Session(grown)
    assert session.plan(wanted).requests == ["k"]
    assert session.shown(wanted, "deliveries") == [("k", 1), ("k", 2)]
    assert session.files(wanted, "deliveries") == 4


@pytest.mark.parametrize("lost", ["table", "feed", "definition"])
def test_all_days_are_looked_at_where_those_of_the_jobs_are_not_known(grown: Lake, lost: str) -> None:
    wanted = defined(grown)
    append(grown, [event("deliveries", request="y", at=NOON + 9 * DAY)])
    make(grown, wanted)
    if lost == "table":
        shutil.rmtree(grown.uri_of("gold", "job_metrics_daily"))
    elif lost == "feed":
        # The log was cleaned up since the days were written down, and cannot say what came then.
        deliveries = grown.ensure(silver_spec("deliveries"))
        deliveries.create_checkpoint()
        Path(grown.uri_of("silver", "deliveries"), "_delta_log", f"{deliveries.version():020}.json").unlink()
    append(grown, [LATE])
    session = Session(grown, is_of_these_definitions=lost != "definition")
    assert session.plan(wanted).requests == ["k"]
    assert session.shown(wanted, "deliveries") == [("k", 1)]
    assert session.files(wanted, "deliveries") == 4


def test_what_is_of_no_message_is_looked_for_between_the_first_and_the_last_event_of_the_job(grown: Lake) -> None:
    wanted = defined(grown, silver=("opens", "requests"), orphan_day=None)
    make(grown, wanted)
    append(grown, [LATE])
    session = Session(grown)
    assert session.plan(wanted).requests == ["k"]
    assert session.shown(wanted, "requests") == [("k", 1)]
    assert session.files(wanted, "requests") == 3


def followed(lake: Lake) -> Model:
    """A model of jobs that looks at all of its jobs again as soon as any evidence came or went; there is some before."""
    append(lake, [event("unsubscribes", request="z-0", recipient_id="1", email="zoe@corp.example", at=NOON)])
    build(lake, select="suppression_evidence fct_messages")
    return replace(
        defined(lake, silver=("deliveries",), orphan_day=None),
        gold=(Input("fct_messages", "first_event_at"), Input("suppression_evidence", "evidence_at")),
        touched_by=("suppression_evidence",),
        also_touched="select request_id, null as event_date from fct_messages where exists (from changed_suppression_evidence)",
    )


def plan_after_evidence(lake: Lake, wanted: Model) -> Plan:
    """The plan after an unsubscribe that only the tables of the evidence were built for."""
    append(lake, [event("unsubscribes", request="b-0", recipient_id="1", email="ann@corp.example", at=NOON)])
    build(lake, select="suppression_evidence")
    return Session(lake).plan(wanted)


def test_a_change_of_a_gold_input_touches_the_jobs_that_the_model_says(grown: Lake) -> None:
    wanted = followed(grown)
    make(grown, wanted)
    assert Session(grown).plan(wanted).mode == "unchanged"
    append(grown, [event("deliveries", request="b-0", recipient_id="9")])
    assert Session(grown).plan(wanted).mode == "unchanged"  # an input does not have it yet
    plan = plan_after_evidence(grown, wanted)
    assert (plan.mode, plan.requests) == ("incremental", ["b-0", "b-1", "b-2", "b-3", "k", "z-0", "z-1", "z-2", "z-3"])


@pytest.mark.parametrize("lost", ["feed", "table"])
def test_a_model_is_made_anew_where_the_changes_of_a_gold_input_are_not_known(grown: Lake, lost: str) -> None:
    wanted = followed(grown)
    make(grown, wanted)
    if lost == "table":
        shutil.rmtree(grown.uri_of("gold", "suppression_evidence"))
    assert plan_after_evidence(grown, wanted).mode == ("incremental" if lost == "feed" else "full")
    if lost == "feed":
        evidence = grown.open("gold", "suppression_evidence")
        assert evidence is not None
        evidence.create_checkpoint()
        Path(grown.uri_of("gold", "suppression_evidence"), "_delta_log", f"{evidence.version():020}.json").unlink()
        assert Session(grown).plan(wanted).mode == "full"


def test_the_tests_of_a_model_in_chunks_look_at_the_rows_of_all_of_them(grown: Lake) -> None:
    wanted = replace(defined(grown, orphan_day=None), also_touched="select 'b-1' as request_id, null::date as event_date")
    make(grown, wanted)
    append(grown, [LATE])
    session = Session(grown, part_rows=1)
    plan = session.plan(wanted)
    assert (plan.requests, plan.chunks) == (["b-1", "k"], 2)
    session.planner.show_chunk(plan, 1)
    rows = pl.DataFrame({"request_id": plan.requests}).to_arrow(compat_level=pl.CompatLevel.oldest())
    committed = gold.commit(grown, wanted.spec, rows.to_reader, handle=plan.handle, predicate=plan.predicate, definition=wanted.definition,
                            silver=plan.included, silver_ids=session.planner.table_ids)  # fmt: skip
    session.planner.show(plan, committed)
    assert session.cursor().execute("from tested.numbers order by 1").fetchall() == [("b-1",), ("k",)]
