"""The commit of a gold table where something happened to it since the plan: real builds, real compactions."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pytest
from deltalake import DeltaTable

from mg_lakehouse.gold import commit as gold
from mg_lakehouse.gold.commit import Watermark
from mg_lakehouse.lake import failpoints
from mg_lakehouse.lake.commit import OvertakenError
from mg_lakehouse.lake.failpoints import Failpoint
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse_tests.faults.scenarios import at, fail
from mg_lakehouse_tests.gold.helpers import NUMBERS, append, build, event, messages, rows_of, run, statuses, table, version, with_inputs

FIRST = [event("deliveries", request=f"b{job}-job", recipient_id=str(who)) for job in range(3) for who in range(3)]
SECOND = [event("deliveries", 60, request="b9-job", recipient_id="1")]
THIRD = [event("clicks", 90, request="b1-job", recipient_id="1", url="https://a.example"), event("opens", 80, request=None)]
MODELS: Final = "mailbox_provider_daily job_bounce_categories"
"""Built with what they are made of: the tables that something comes in between of, and some that stand upon them."""
COMPARED: Final = ("fct_messages", "dim_jobs", "job_metrics", "job_metrics_daily", *MODELS.split())

SILVER_ID: Final = "the id of a silver table"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """A lake that was built twice, so that its tables consist of several files."""
    lake = Lake(str(tmp_path_factory.mktemp("built") / "lake"))
    for events in (FIRST, SECOND):
        append(lake, events)
        build(lake, select=MODELS)
    return lake


@pytest.fixture
def lake(built: Lake, tmp_path: Path) -> Lake:
    shutil.copytree(built.root, tmp_path / "lake")
    return Lake(str(tmp_path / "lake"))


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[tuple[Any, ...]]]:
    """What one full build over all events gives."""
    lake = Lake(str(tmp_path_factory.mktemp("expected") / "lake"))
    append(lake, [*FIRST, *SECOND, *THIRD])
    build(lake, select=MODELS)
    return {name: rows_of(lake, name) for name in COMPARED}


def compact(lake: Lake, name: str) -> None:
    """Bring the table's files together, as a maintenance job does."""
    DeltaTable(lake.uri_of("gold", name)).optimize.compact()


def test_a_table_that_was_compacted_since_the_plan_is_written_all_the_same(lake: Lake, expected: dict[str, list[tuple[Any, ...]]]) -> None:
    append(lake, THIRD)
    before = version(lake, "fct_messages")
    with at(Failpoint.COMMIT_DECIDED, lambda: compact(lake, "fct_messages"), about="gold/fct_messages"):
        build(lake, select=MODELS)
    assert version(lake, "fct_messages") == before + 2
    assert {name: rows_of(lake, name) for name in COMPARED} == expected
    build(lake, select=MODELS)
    assert version(lake, "fct_messages") == before + 2


@pytest.mark.slow
def test_another_build_that_came_first_is_not_overwritten(lake: Lake, expected: dict[str, list[tuple[Any, ...]]]) -> None:
    """The other one includes events that this one planned without, and commits to a table in between."""
    append(lake, THIRD[:1])

    def other() -> None:
        append(lake, THIRD[1:])
        build(lake, select=MODELS)

    with at(Failpoint.COMMIT_DECIDED, other, about="gold/job_metrics_daily"):
        ours = run(lake, models=with_inputs(MODELS), tests=())
    assert statuses(ours)["job_metrics_daily"] == "error"
    assert "gold/job_metrics_daily" in messages(ours)["job_metrics_daily"]
    assert "was committed to by another build" in messages(ours)["job_metrics_daily"]
    build(lake, select=MODELS)
    assert {name: rows_of(lake, name) for name in COMPARED} == expected


@pytest.fixture
def numbers(tmp_path: Path) -> Lake:
    """A lake with the table `numbers`, built once."""
    lake = Lake(str(tmp_path / "numbers"))
    write(lake, None, {"a": 1, "b": 1})
    return lake


def write(lake: Lake, handle: DeltaTable | None, rows: dict[str, int], *, predicate: str | None = None, silver: int = 1) -> DeltaTable:
    frame = pa.table({"request_id": list(rows), "n": pa.array(list(rows.values()), pa.int64())})
    return gold.commit(
        lake,
        NUMBERS,
        frame.to_reader,
        handle=handle,
        predicate=predicate,
        definition=7,
        silver={"clicks": Watermark(gold.digest(SILVER_ID), silver)},
        silver_ids={"clicks": SILVER_ID},
    )


def opened(lake: Lake) -> DeltaTable:
    handle = lake.open("gold", "numbers")
    assert handle is not None
    return handle


def numbers_of(lake: Lake) -> dict[str, int]:
    return dict(table(lake, "numbers").rows())


def includes(handle: DeltaTable) -> int:
    """The version of silver that a table says it was made of."""
    return gold.watermarks_of(handle, {"clicks": SILVER_ID}, ["clicks"]).silver["clicks"].version


def test_a_commit_is_the_state_that_the_next_plan_is_made_from(numbers: Lake) -> None:
    handle = write(numbers, opened(numbers), {"b": 2}, predicate="request_id = 'b'", silver=5)
    assert numbers_of(numbers) == {"a": 1, "b": 2}
    assert (handle.version(), includes(handle), includes(opened(numbers))) == (2, 5, 5)
    assert sorted(handle.file_uris()) == sorted(opened(numbers).file_uris())


def test_a_commit_whose_answer_is_lost_is_known_as_its_own(numbers: Lake) -> None:
    with at(Failpoint.COMMIT_DONE, fail, about="gold/numbers"):
        handle = write(numbers, opened(numbers), {"b": 2}, predicate="request_id = 'b'", silver=5)
    assert (handle.version(), opened(numbers).version(), includes(handle)) == (2, 2, 5)
    assert numbers_of(numbers) == {"a": 1, "b": 2}


def test_a_commit_that_failed_is_made_again_with_the_same_rows(numbers: Lake) -> None:
    with at(Failpoint.COMMIT_DECIDED, fail, about="gold/numbers"):
        write(numbers, opened(numbers), {"b": 2}, predicate="request_id = 'b'", silver=5)
    assert opened(numbers).version() == 2
    assert numbers_of(numbers) == {"a": 1, "b": 2}


def test_a_model_that_got_a_column_is_made_anew_with_it_also_at_a_second_try(numbers: Lake) -> None:
    """In the order of its contract: a table of gold does not grow at its end, as those of bronze and silver do."""
    names = [{"name": "request_id", "data_type": "varchar"}, {"name": "why", "data_type": "varchar"}, {"name": "n", "data_type": "bigint"}]
    grown = gold.gold_spec("numbers", [name | {"description": ""} for name in names], stats_columns=["request_id"], description="")
    frame = pa.table({"request_id": ["c"], "why": ["so"], "n": pa.array([3], pa.int64())})
    with at(Failpoint.COMMIT_DECIDED, fail, about="gold/numbers"):
        gold.commit(numbers, grown, frame.to_reader, handle=opened(numbers), predicate=None, definition=8, silver={}, silver_ids={})
    assert table(numbers, "numbers").to_dict(as_series=False) == {"request_id": ["c"], "why": ["so"], "n": [3]}
    assert [commit["operation"] for commit in opened(numbers).history()] == ["WRITE", "WRITE", "CREATE TABLE"]


@pytest.mark.parametrize("predicate", ["request_id = 'b'", None])
def test_a_compaction_in_between_costs_another_try(numbers: Lake, predicate: str | None) -> None:
    write(numbers, opened(numbers), {"c": 2}, predicate="request_id = 'c'", silver=2)
    assert len(opened(numbers).file_uris()) == 2
    with at(Failpoint.COMMIT_DECIDED, lambda: compact(numbers, "numbers"), about="gold/numbers"):
        handle = write(numbers, opened(numbers), {"b": 3}, predicate=predicate, silver=3)
    assert numbers_of(numbers) == ({"a": 1, "b": 3, "c": 2} if predicate else {"b": 3})
    assert (handle.version(), includes(handle)) == (4, 3)


@pytest.mark.parametrize("also", [None, compact], ids=["alone", "and a compaction"])
def test_a_build_in_between_is_never_overwritten(numbers: Lake, also: Callable[[Lake, str], None] | None) -> None:
    def other() -> None:
        failpoints.on_reached(None)
        write(numbers, opened(numbers), {"c": 9}, predicate="request_id = 'c'", silver=9)
        if also is not None:
            also(numbers, "numbers")

    with (
        at(Failpoint.COMMIT_DECIDED, other, about="gold/numbers"),
        pytest.raises(OvertakenError, match=r"^gold/numbers in the lake .* build again"),
    ):
        write(numbers, opened(numbers), {"b": 3}, predicate="request_id = 'b'", silver=3)
    assert numbers_of(numbers) == {"a": 1, "b": 1, "c": 9}
    assert includes(opened(numbers)) == 9


def test_a_table_that_another_build_made_first_is_not_overwritten(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path / "lake"))
    write(lake, None, {"a": 9}, silver=9)
    with pytest.raises(OvertakenError):
        write(lake, None, {"a": 3}, silver=3)
    assert numbers_of(lake) == {"a": 9}


def test_a_landed_commit_that_was_built_upon_is_known_all_the_same(numbers: Lake) -> None:
    """Its answer is lost, and another build commits before it looks again."""

    def lose() -> None:
        failpoints.on_reached(None)
        write(numbers, opened(numbers), {"a": 9}, predicate="request_id = 'a'", silver=9)
        fail()

    with at(Failpoint.COMMIT_DONE, lose, about="gold/numbers"):
        write(numbers, opened(numbers), {"b": 3}, predicate="request_id = 'b'", silver=3)
    assert numbers_of(numbers) == {"a": 9, "b": 3}


def test_what_a_handle_includes_is_what_its_own_version_does(numbers: Lake) -> None:
    """And not what a newer commit says, which delta-rs gives with the older handle's history."""
    older = opened(numbers)
    write(numbers, opened(numbers), {"b": 2}, predicate="request_id = 'b'", silver=5)
    assert (includes(older), includes(opened(numbers))) == (1, 5)


def test_what_a_table_includes_outlives_its_log_entries(numbers: Lake) -> None:
    """Log entries are removed after a time; the app transactions are in the checkpoint."""
    write(numbers, opened(numbers), {"b": 2}, predicate="request_id = 'b'", silver=5)
    handle = opened(numbers)
    handle.create_checkpoint()
    for entry in Path(numbers.uri_of("gold", "numbers"), "_delta_log").glob("*.json"):
        entry.unlink()
    made = gold.watermarks_of(opened(numbers), {"clicks": SILVER_ID}, ["clicks", "opens"])
    assert (made.definition, dict(made.silver)) == (7, {"clicks": Watermark(gold.digest(SILVER_ID), 5)})
