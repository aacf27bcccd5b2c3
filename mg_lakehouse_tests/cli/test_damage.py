"""What a power cut leaves, by the real commands: a sentence that names the file, the table and the repair, and the repair that it names."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable

from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.testing.sqs import SqsEmulator
from mg_lakehouse_tests.cli.commands import command, process, samples_ran, sentence
from mg_lakehouse_tests.cli.test_commands import words
from mg_lakehouse_tests.lake.feeds import rows_of

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def queue() -> Iterator[SqsEmulator]:
    with SqsEmulator() as embedded:
        yield embedded


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> Path:
    """A folder in which the samples went through, with gold."""
    samples_ran(tmp_path_factory, tmp_path)
    return tmp_path


def lake_of(folder: Path) -> Lake:
    return Lake(str(folder / ".lake"))


def last_entry(folder: Path, table: str) -> Path:
    return max((folder / ".lake" / table / "_delta_log").glob("*.json"))


def data_file(folder: Path, table: str) -> Path:
    return Path(DeltaTable(folder / ".lake" / table).file_uris()[0].removeprefix("file://"))


def content(lake: Lake, table: str) -> list[tuple[object, ...]]:
    rows = rows_of(lake, "gold" if table.startswith("gold/") else "silver", table.split("/")[1])
    return sorted(rows.select(pl.struct(pl.exclude("made_at")).struct.json_encode()).rows())


def empty(file: Path) -> None:
    file.write_bytes(b"")


def torn(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-20])


def missing(file: Path) -> None:
    file.unlink()


def foreign(file: Path) -> None:
    file.write_text("<html>Bad gateway</html>")


def test_a_run_over_an_empty_commit_of_bronze_fails_and_a_repair_brings_all_back(folder: Path, queue: SqsEmulator) -> None:
    """The messages were deleted long ago: the run ended well, `reconcile` said that nothing was missing, `backfill` would have removed the rows."""
    empty(entry := last_entry(folder, "bronze/event_feed"))
    expected = f"its file _delta_log/{entry.name} is empty. To repair it, `mg-lakehouse repair bronze` shows what a repair would do"
    today = rows_of(lake_of(folder), "silver", "clicks")["received_date"][0].isoformat()
    for arguments in (["run"], ["reconcile"], ["backfill", "--from", today, "--dry-run"], ["maintain"], ["status"]):
        said = sentence(command(folder, *arguments, **queue.environment))
        assert expected in said, arguments
        assert "transient" not in said.lower()
    told = process(folder, "repair", "bronze")
    assert told.returncode == 0, told.stderr
    assert f"bronze/event_feed: _delta_log/{entry.name} is empty, and would be set aside in _set_aside." in told.stdout
    assert "17 messages of batch" in told.stdout
    assert "Nothing was changed. Run it with --yes to apply this." in told.stdout
    assert entry.read_bytes() == b""
    done = command(folder, "repair", "bronze", "--yes")
    assert done.returncode == 0, done.stderr
    assert "are restored to commit 1" in done.stdout
    assert command(folder, "repair", "bronze").stdout.strip() == "Bronze needs no repair."
    assert command(folder, "run", **queue.environment).returncode == 0
    books = command(folder, "reconcile", "--hours", "2")
    assert (books.returncode, "Every hour balances: nothing is missing, nothing is twice." in books.stdout) == (0, True)
    assert "silver matches bronze" in command(folder, "backfill", "--from", today, "--dry-run").stdout


@pytest.mark.parametrize(
    ("of", "damage"),
    [
        (last_entry, empty),
        (data_file, torn),
        *(
            pytest.param(of, damage, marks=pytest.mark.faults)
            for of, damage in ((last_entry, torn), (last_entry, foreign), (data_file, empty))
        ),
    ],
)
def test_a_damaged_silver_table_is_removed_and_made_anew_as_the_sentence_says(
    folder: Path, queue: SqsEmulator, of: Callable[[Path, str], Path], damage: Callable[[Path], None]
) -> None:
    before = content(lake_of(folder), "silver/clicks")
    damage(file := of(folder, "silver/clicks"))
    said = sentence(command(folder, "run", **queue.environment))
    assert f"silver/clicks in the lake .lake is damaged: its file {file.relative_to(folder / '.lake/silver/clicks')} is " in said
    removed, _, remedy = said.partition("remove the folder ")[2].partition(", and `mg-lakehouse ")
    assert removed == str(folder / ".lake/silver/clicks")
    shutil.rmtree(removed)
    made = command(folder, *remedy.partition("`")[0].split())
    assert made.returncode == 0, made.stderr
    assert content(lake_of(folder), "silver/clicks") == before
    assert command(folder, "run", **queue.environment).returncode == 0
    books = command(folder, "reconcile")
    assert (books.returncode, "nothing can be proved" in books.stdout) == (0, True)
    assert command(folder, "reconcile", "--hours", "2").returncode == 1


@pytest.mark.parametrize(("of", "damage"), [(last_entry, empty), pytest.param(data_file, missing, marks=pytest.mark.faults)])
def test_a_damaged_gold_table_is_removed_and_built_anew(
    folder: Path, queue: SqsEmulator, of: Callable[[Path, str], Path], damage: Callable[[Path], None]
) -> None:
    before = content(lake_of(folder), "gold/job_metrics")
    damage(of(folder, "gold/job_metrics"))
    failed = command(folder, "run", **queue.environment)
    assert failed.returncode == 1
    assert f"remove the folder {folder}/.lake/gold/job_metrics, and the next build rebuilds it" in failed.stderr
    shutil.rmtree(folder / ".lake/gold/job_metrics")
    done = command(folder, "run", **queue.environment)
    assert done.returncode == 0, done.stderr
    assert content(lake_of(folder), "gold/job_metrics") == before


def test_a_run_fails_where_the_last_hours_do_not_balance(folder: Path, queue: SqsEmulator) -> None:
    """Without Dagster's schedules nobody else looks at the check: a row that vanished from silver was gone from gold, and the run ended well."""
    DeltaTable(folder / ".lake/silver/clicks").delete()
    failed = command(folder, "run", **queue.environment)
    assert failed.returncode == 1
    assert "The check silver/rejected_items: hours_balance failed." in words(failed.stderr)
    assert "models built" not in failed.stdout


def test_rows_whose_messages_bronze_lost_are_told_and_never_removed(folder: Path) -> None:
    """The newest commit of bronze is gone without a trace, but for what silver has of it."""
    last_entry(folder, "bronze/event_feed").unlink()
    said = sentence(command(folder, "reconcile"))
    assert "is damaged: it ends with commit 0, and silver has read commit 1 of it" in said
    assert command(folder, "repair", "bronze", "--yes").returncode == 0
    assert command(folder, "reconcile").returncode == 0


def test_only_bronze_is_repaired(folder: Path) -> None:
    done = command(folder, "repair", "silver")
    assert done.returncode == 2
    assert "Only bronze can be repaired" in words(done.stderr.replace("│", " "))
