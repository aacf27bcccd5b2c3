"""Gold behind maintained tables: as exact, by touched keys while the change feed holds them, and anew where it does not."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from mg_lakehouse.gold import staging as gold_staging
from mg_lakehouse.lake import commit
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.maintenance.run import TableReport, maintain
from mg_lakehouse.settings import Settings
from mg_lakehouse_tests.gold.helpers import MARTS, NOON, append, build, event, replaced, rows_of
from mg_lakehouse_tests.templates import copied, made_once

pytestmark = pytest.mark.slow

FIRST = [event("deliveries", number, request=f"j{number}", recipient_id="1", email="ada@gmail.com") for number in range(8)]
LATER = [event("opens", 60, request="j1", email="ada@gmail.com"), event("deliveries", 61, request="j1", recipient_id="2")]


@pytest.fixture
def lake(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> Lake:
    """Built once, with eight commits of deliveries; then news of one job, in two more that gold has not seen."""

    def make(folder: Path) -> None:
        lake = Lake(str(folder))
        for each in FIRST:
            append(lake, [each])
        run(lake)
        for each in LATER:
            append(lake, [each])

    return copied(made_once(tmp_path_factory, "gold-of-eight-commits", make), tmp_path / "lake")


def run(lake: Lake) -> None:
    build(lake)


def kept(lake: Lake, **changes: Any) -> dict[str, TableReport]:
    settings = Settings(small_files=2).model_copy(update={"keep_files_days": 0, "keep_log_days": 7, **changes})
    return {report.table: report for report in maintain(lake, settings)}


@pytest.fixture
def anew(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """A lake that was never maintained, built once."""

    def make(folder: Path) -> None:
        append(Lake(str(folder)), [*FIRST, *LATER])
        run(Lake(str(folder)))

    return Lake(str(made_once(tmp_path_factory, "gold-never-maintained", make)))


def same(lake: Lake, other: Lake) -> None:
    for name in MARTS:
        assert rows_of(lake, name) == rows_of(other, name), name


def test_what_gold_has_not_included_is_never_removed_and_refreshed_by_its_keys(lake: Lake, anew: Lake) -> None:
    deliveries = kept(lake)["deliveries"]
    assert (deliveries.sorted, deliveries.files_before, deliveries.files_after) == (1, 9, 1)
    assert deliveries.removed.files == 0, "the file of the unread commit would be among them"
    run(lake)
    assert "j1" in str(replaced(lake, "job_metrics"))
    assert "j2" not in str(replaced(lake, "job_metrics"))
    same(lake, anew)
    assert kept(lake)["deliveries"].removed.files == 9


def test_gold_that_was_neglected_for_longer_than_the_log_is_kept_is_built_anew(lake: Lake, anew: Lake) -> None:
    assert kept(lake, keep_log_days=0)["deliveries"].removed.files == 9
    run(lake)
    assert replaced(lake, "job_metrics") is None, "the changes were gone, and not noticed"
    same(lake, anew)


def test_a_compaction_alone_is_no_news_for_gold(lake: Lake) -> None:
    run(lake)
    kept(lake)
    before = {name: rows_of(lake, name) for name in MARTS}
    append(lake, [event("clicks", request="j2", email="ada@gmail.com")])
    build(lake, as_of=NOON + timedelta(days=1))
    assert str(replaced(lake, "job_metrics")).count("'j") == str(replaced(lake, "job_metrics")).count("'j2")
    assert rows_of(lake, "dim_bounce_categories") == before["dim_bounce_categories"]


def test_golds_own_small_files_are_merged_and_its_state_survives(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small table is one file, which each refresh replaces; here it is several, as if it were large."""
    monkeypatch.setattr(commit, "_REPLACED_FILE_BYTES", 1)
    monkeypatch.setattr(gold_staging, "_BATCH_ROWS", 1)
    build(lake, full_refresh=True)
    monkeypatch.undo()
    before = rows_of(lake, "job_metrics")
    report = kept(lake, small_files=1)["job_metrics"]
    assert (report.merged, report.files_after) == (1, 1)
    assert report.files_before > 1
    assert rows_of(lake, "job_metrics") == before
    append(lake, [event("opens", 200, request="j0", email="ada@gmail.com")])
    run(lake)
    assert "j0" in str(replaced(lake, "job_metrics")), "what the table includes was forgotten"
