"""A reader who types what the pages say, page after page, sees what they say."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from mg_lakehouse.testing.samples import samples
from mg_lakehouse.testing.sqs import SqsEmulator
from mg_lakehouse_tests.docs.consoles import blocks, fenced, look_here
from mg_lakehouse_tests.docs.pages import DOCS

READER: Final = {"COLUMNS": "160"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a reader sits, with the lake of the first page that is followed."""
    folder = tmp_path_factory.mktemp("reader")
    for each in blocks(DOCS / "getting-started.md"):
        look_here(each, folder, READER)
    return folder


@pytest.fixture
def queue() -> Iterator[SqsEmulator]:
    with SqsEmulator() as embedded:
        embedded.publish(samples().values())
        yield embedded


@pytest.mark.slow
def test_a_stranger_gets_from_nothing_to_an_answer(folder: Path) -> None:
    header = (folder / "jobs.csv").read_text().splitlines()[0]
    assert header.startswith("request_id,channel,")
    assert len((folder / "jobs.csv").read_text().splitlines()) > 10


@pytest.mark.slow
def test_operations_do_what_the_page_says(folder: Path, queue: SqsEmulator) -> None:
    items = "".join(
        f"<DeliveredMessageActivity><ActivityId>saved-{number}</ActivityId><Timestamp>2026-03-01T10:00:00Z</Timestamp>"
        "<RequestId>saved-job</RequestId></DeliveredMessageActivity>"
        for number in range(3)
    )
    (folder / "saved.xml").write_text(f"<ActivityItems>{items}</ActivityItems>")
    for each in blocks(DOCS / "operations.md"):
        look_here(each, folder, READER | queue.environment)
    assert queue.depth() == 0


def test_what_is_not_run_says_why() -> None:
    """Each console block is run by a test, or says above itself why none does. The cookbook's are of its own tests."""
    run = {"", "before", "after", "column-before", "column-after"}
    pages = ("getting-started", "operations", "new-event-type")
    notes = [note for page in pages for note, _ in fenced(DOCS / f"{page}.md", "console")]
    assert len(notes) > 15
    assert [note for note in notes if note not in run and not note.startswith("not run: ")] == []
