"""The command line as a person uses it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable

from mg_lakehouse._version import __version__
from mg_lakehouse.cli.app import COMMANDS, LazyGroup
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.silver.update import flatten_new
from mg_lakehouse.testing.samples import samples
from mg_lakehouse.testing.sqs import SqsEmulator
from mg_lakehouse_tests.cli.commands import command, process, samples_ran
from mg_lakehouse_tests.events.frames import bundle, item
from mg_lakehouse_tests.lake.feeds import START, bundles, receive


@pytest.fixture
def queue() -> Iterator[SqsEmulator]:
    with SqsEmulator() as embedded:
        yield embedded


def words(text: str) -> str:
    """Text with every run of blanks, line breaks included, as one blank."""
    return " ".join(text.split())


def test_help_names_every_command(tmp_path: Path) -> None:
    done = process(tmp_path, "--help")
    assert done.returncode == 0
    assert all(name in done.stdout for name in ("run", "status", "suppressions", "maintain", "demo", "dev"))
    assert command(tmp_path, "--version").stdout.strip() == f"mg-lakehouse {__version__}"


def test_status_of_nothing_says_what_to_do(tmp_path: Path) -> None:
    done = command(tmp_path, "status")
    assert done.returncode == 0
    assert "It has no table yet: set MG_QUEUE_URL and run mg-lakehouse run, or try mg-lakehouse demo." in words(done.stdout)
    assert "Queue: not set (MG_QUEUE_URL)." in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_run_then_status(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, queue: SqsEmulator) -> None:
    """17 samples of one item each, two of them malformed; then the same again: new messages, all duplicates."""
    first = samples_ran(tmp_path_factory, tmp_path)
    assert "messages new 17" in words(first.said)
    assert "rows added 15" in words(first.said)
    assert "items rejected 2" in words(first.said)
    assert first.left == 11, "the budget was not kept"
    queue.publish(samples().values())
    second = command(tmp_path, "run", **queue.environment)
    assert second.returncode == 0, second.stderr
    assert "rows added 0 silver duplicates dropped 15" in words(second.stdout)

    status = command(tmp_path, "status", **queue.environment)
    assert status.returncode == 0, status.stderr
    said = words(status.stdout)
    assert "bronze event_feed 34" in said
    assert "clicks 1 " in said
    assert "malformed_xml 4" in said
    assert "Queue: 0 messages wait, 0 are in flight, 0 are delayed; room in flight for 120,000 more." in said
    assert "The newest batch: 17 messages; the oldest had waited" in said
    assert ".pii_key" in said
    books = process(tmp_path, "reconcile")
    assert books.returncode == 0, books.stderr
    assert "…" not in books.stdout + status.stdout
    assert "Every hour balances: nothing is missing, nothing is twice." in books.stdout
    DeltaTable(tmp_path / ".lake" / "silver" / "clicks").delete()
    broken = command(tmp_path, "reconcile", COLUMNS="120")
    assert broken.returncode == 1
    assert "+0 messages, +1 items" in broken.stdout

    assert (tmp_path / ".lake" / ".pii_key").stat().st_mode & 0o777 == 0o600


def test_settings_come_from_dotenv(tmp_path: Path, queue: SqsEmulator) -> None:
    lines = [f"{name}={value}" for name, value in queue.environment.items()]
    (tmp_path / ".env").write_text("\n".join([*lines, "MG_LAKE_URI=elsewhere"]))
    queue.publish(["<ActivityItems/>"])
    assert "1 messages wait" in command(tmp_path, "status").stdout
    assert "elsewhere" in command(tmp_path, "status").stdout
    assert "other" in command(tmp_path, "status", MG_LAKE_URI="other").stdout


@pytest.mark.slow
def test_demo_shows_the_numbers_and_what_to_type_next(tmp_path: Path) -> None:
    done = process(tmp_path, "demo", "--events", "2000", "--seed", "3")
    assert done.returncode == 0, done.stderr
    for text in (
        "0 are left in the queue",
        "Best jobs",
        "Worst jobs",
        "Failures by category",
        "malformed_xml",
        "mg-lakehouse dev",
        ".lake",
    ):
        assert text in done.stdout
    # An ordinary terminal has 80 columns, and no number is cut short in it.
    assert "…" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) > 60
    again = command(tmp_path, "demo", "--events", "2000", "--seed", "3")
    assert again.returncode == 0, again.stderr
    assert "rows added 0 " in words(again.stdout)


def test_maintain_says_what_it_would_do_and_then_what_it_did(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path / ".lake"))
    for number in range(4):
        receive(lake, bundles(2), first=2 * number)
    flatten_new(lake)
    crowded = command(tmp_path, "status", MG_SMALL_FILES="3")
    assert "1 tables have many small files (bronze/event_feed: 4): run `mg-lakehouse maintain`" in words(crowded.stdout)
    dry = process(tmp_path, "maintain", "--dry-run")
    assert dry.returncode == 0, dry.stderr
    assert "1 merged" in words(dry.stdout)
    assert len(DeltaTable(lake.uri_of("bronze", "event_feed")).file_uris()) == 4
    done = command(tmp_path, "maintain")
    assert done.returncode == 0, done.stderr
    assert "bronze/event_feed 4 1" in words(done.stdout)
    assert len(DeltaTable(lake.uri_of("bronze", "event_feed")).file_uris()) == 1
    again = command(tmp_path, "maintain")
    assert words(again.stdout) == "2 of 2 tables needed nothing."


def test_maintain_without_a_lake_makes_none(tmp_path: Path) -> None:
    done = command(tmp_path, "maintain")
    assert (done.returncode, words(done.stdout)) == (0, "The lake has no table yet: there is nothing to maintain.")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_docs_is_one_page_of_all_gold_models(tmp_path: Path) -> None:
    done = process(tmp_path, "docs", "--output", "pages/gold.html", MG_PII_KEY="k")
    assert done.returncode == 0, done.stderr
    assert words(done.stdout) == "Written to pages/gold.html."
    page = (tmp_path / "pages" / "gold.html").read_text()
    # Models, a column's text and a test's name, each from another file of the project.
    assert all(text in page for text in ("metric_dictionary", "Messages handed to a receiver", "job_metrics_identities_hold"))
    assert str(tmp_path) not in page


def test_load_tells_of_each_file_and_fails_for_one_that_is_none(tmp_path: Path) -> None:
    names = [f"{number:02}.xml" for number in range(12)]
    for name in names:
        (tmp_path / name).write_text(bundle(item("OpenActivity", ActivityId=name)))
    (tmp_path / "05.xml").write_text("hello")
    done = process(tmp_path, "load", "--bronze-only", *names)
    assert done.returncode == 1
    assert "Failed: 05.xml is not a file of the feed" in words(done.stdout)
    assert all(f"{name} xml 1 1 1 0" in words(done.stdout) for name in names if name != "05.xml")
    handle = Lake(str(tmp_path / ".lake")).open("bronze", "loaded_files")
    assert handle is not None
    assert handle.version() == 1, "files that are small do not share a commit"
    again = command(tmp_path, "load", "--bronze-only", "00.xml", "00.xml")
    assert again.returncode == 0
    assert words(again.stdout).count("00.xml xml 1 1 0 1") == 2


@pytest.mark.slow
def test_what_is_missing_behind_bronze_is_made_without_a_queue(tmp_path: Path) -> None:
    """The load that brought a file ended before silver and gold had it: loading it again finishes that, and so does `build`."""
    lake = Lake(str(tmp_path / ".lake"))
    for name in ("first", "second"):
        (tmp_path / f"{name}.xml").write_text(bundle(item("OpenActivity", ActivityId=name)))
    assert command(tmp_path, "load", "--bronze-only", "first.xml").returncode == 0
    assert lake.open("silver", "opens") is None
    again = command(tmp_path, "load", "first.xml")
    assert again.returncode == 0, again.stderr
    assert "first.xml xml 1 1 0 1" in words(again.stdout)
    assert "rows added 1" in words(again.stdout)
    assert pl.read_delta(lake.uri_of("gold", "message_events"))["activity_id"].to_list() == ["first"]

    assert command(tmp_path, "load", "--bronze-only", "second.xml").returncode == 0
    built = process(tmp_path, "build")
    assert built.returncode == 0, built.stderr
    assert "rows added 1" in words(built.stdout)
    assert sorted(pl.read_delta(lake.uri_of("gold", "message_events"))["activity_id"]) == ["first", "second"]


def test_load_sums_up_very_many_files_and_names_those_that_failed(tmp_path: Path) -> None:
    names = [f"{number:02}.xml" for number in range(60)]
    for name in names:
        (tmp_path / name).write_text(bundle(item("OpenActivity", ActivityId=name), item("ClickActivity", ActivityId=name)))
    (tmp_path / "05.xml").write_text("hello")
    done = command(tmp_path, "load", "--bronze-only", *names)
    assert done.returncode == 1
    assert "59 files xml 118 59 59 0" in words(done.stdout)
    assert "1 files 0 0 0 0 Failed: 05.xml is not a file of the feed" in words(done.stdout)
    assert "00.xml" not in done.stdout


def test_backfill_says_what_it_would_do_does_it_and_has_nothing_more_to_do(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path / ".lake"))
    receive(lake, list(samples().values()))
    flatten_new(lake)
    DeltaTable(lake.uri_of("silver", "clicks")).delete()
    arguments = ("backfill", "--from", START.date().isoformat())
    dry = process(tmp_path, *arguments, "--dry-run")
    assert dry.returncode == 0, dry.stderr
    assert "2026-03-01 clicks 1 1 0" in words(dry.stdout)
    assert "1 days of tables differ from bronze. Nothing was changed." in words(dry.stdout)
    done = command(tmp_path, *arguments)
    assert done.returncode == 0, done.stderr
    assert "1 days of tables differed from bronze. Gold follows with its next build." in words(done.stdout)
    again = command(tmp_path, *arguments, "--to", "2026-03-02", "--table", "clicks")
    assert words(again.stdout) == "2 days, 1 rows: silver matches bronze."


def test_the_list_of_commands_says_of_each_how_its_own_help_begins() -> None:
    """The list is written down, so that it need import no command; and it is complete."""
    for name, (_, line) in COMMANDS.items():
        command = LazyGroup().get_command(None, name)
        assert command is not None
        assert (command.help or "").split("\n\n")[0].replace("\n", " ") == line
    assert LazyGroup().get_command(None, "unknown") is None
