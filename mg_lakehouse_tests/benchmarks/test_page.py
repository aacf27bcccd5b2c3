"""From result documents to the page, and one goal from its command to the document."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from benchmarks.data.shapes import BROKEN, PLAIN, WELL_FORMED
from benchmarks.goals import GOALS, cliffs, daily_file, end_to_end, flatten, store
from benchmarks.goals.context import Context
from benchmarks.harness.outcome import Curve, Outcome, Plot, Reached, Table
from benchmarks.harness.peers import Peer, available
from benchmarks.report.page import write_page

OUTCOME = Outcome(
    goal="flatten",
    title="XML to frames",
    reached=[Reached("flatten", "at least 5x", "6.1x (5.9 to 6.2)", met=True), Reached("of it", "less", "more", met=False)],
    tables=[Table("XML to frames", ("", "events/s"), [("ours", "600,000"), ("a | b", "100,000")], "On two cores.")],
    plots=[
        Plot(
            "rates", "Rates", "", "events a second", [Curve("ours", [0], [6e5], [5e5], [7e5]), Curve("(a) loop", [0], [1e5])], kind="bars"
        ),
        Plot("growth", "Growth", "rows", "seconds", [Curve("silver", [1e6, 1e8], [1.0, 1.1], [0.9, 1.0], [1.1, 1.2])], log_x=True),
    ],
    remarks=["The rows are the same."],
    raw={"seconds": [1.0]},
    size="standard",
    measured_at="2026-03-01 12:00 UTC",
    machine={"cpu": "A CPU", "cores": 2, "memory_bytes": 24 * 2**30, "system": "Linux", "python": "3.11", "versions": {"polars": "2.1.0"}},
)


def test_a_document_is_read_as_it_was_written(tmp_path: Path) -> None:
    file = OUTCOME.write(tmp_path)
    assert file.name == "flatten.standard.json"
    again = Outcome.read(file)
    assert again.write(tmp_path / "again").read_text() == file.read_text()
    assert again.reached == OUTCOME.reached


def test_the_page_has_goals_tables_and_plots(tmp_path: Path) -> None:
    OUTCOME.write(tmp_path)
    page = write_page(tmp_path, tmp_path / "docs").read_text()
    assert "| flatten | at least 5x | 6.1x (5.9 to 6.2) | yes |" in page
    assert "| of it | less | more | **no** |" in page
    assert "| a \\| b | 100,000 |" in page
    assert "A CPU, 2 cores, 24 GiB" in page
    assert "- The rows are the same." in page
    images = re.findall(r"\]\((images/[^)]+)\)", page)
    assert images == ["images/performance-rates.svg", "images/performance-growth.svg"]
    for image in images:
        texts = "".join(ET.parse(tmp_path / "docs" / image).getroot().itertext())
        assert "seconds" in texts or "events a second" in texts


def test_the_same_numbers_give_the_same_bytes(tmp_path: Path) -> None:
    OUTCOME.write(tmp_path)
    first, second = (write_page(tmp_path, tmp_path / name).parent for name in ("one", "two"))
    for file in (path for path in first.rglob("*") if path.is_file()):
        assert file.read_bytes() == (second / file.relative_to(first)).read_bytes()


def test_the_largest_size_counts(tmp_path: Path) -> None:
    replace(OUTCOME, size="small", title="a small one").write(tmp_path)
    replace(OUTCOME, size="full", title="a full one").write(tmp_path)
    page = write_page(tmp_path, tmp_path / "docs").read_text()
    assert "## a full one" in page
    assert "a small one" not in page


def test_a_page_without_results_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="run `make bench` first"):
        write_page(tmp_path, tmp_path / "docs")


def test_a_peer_that_is_not_there_says_what_is_missing() -> None:
    assert (
        available(Peer("x", "no-such", "x.py", needs_java=False))
        == "its environment .venv-bench-no-such is not made; `make bench-peers` makes it."
    )


def test_a_goal_measures_at_a_tiny_size(tmp_path: Path) -> None:
    said: list[str] = []
    outcome = flatten.measure(Context("tiny", tmp_path, tmp_path / "cache", tmp_path, said.append))
    assert said[0] == "the rows are the same: 2,000"
    (reached,) = outcome.reached
    assert re.fullmatch(r"[\d.]+x \([\d.]+ to [\d.]+\)", reached.value)
    assert [row[0] for row in outcome.tables[0].rows][:2] == ["mg_lakehouse", "(a) lxml loop"]


def test_shapes_of_the_feed_are_measured_beside_the_plain_one_and_the_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unknown, broken = "an unknown activity in every bundle", "one malformed item in 100"
    monkeypatch.setattr(cliffs, "WELL_FORMED", {name: WELL_FORMED[name] for name in (PLAIN, unknown)})
    monkeypatch.setattr(cliffs, "BROKEN", {broken: BROKEN[broken]})
    outcome = cliffs.measure(Context("tiny", tmp_path, tmp_path / "cache", tmp_path, lambda _: None))
    well_formed, of_loop, with_broken = (reached.value for reached in outcome.reached)
    assert re.fullmatch(r"[\d.]+x \([\d.]+ to [\d.]+\), (as benchmarked|an unknown activity in every bundle)", well_formed)
    assert of_loop.endswith("as benchmarked")  # the loop knows no other activities
    assert with_broken.endswith((broken, "the demo's feed"))
    assert [row[0] for row in outcome.tables[0].rows] == [PLAIN, unknown, broken, "the demo's feed"]
    assert [bool(row[4]) for row in outcome.tables[0].rows] == [True, False, False, False]


def test_a_daily_file_comes_to_bronze_as_a_whole_and_leaves_nothing_behind(tmp_path: Path) -> None:
    said: list[str] = []
    outcome = daily_file.measure(Context("tiny", tmp_path, tmp_path / "cache", tmp_path, said.append))
    memory, progress = outcome.reached
    assert memory.what == "a daily file of 0.004 GB into bronze: peak memory against that of a quarter of it"
    assert re.fullmatch(r"[\d.]+x, \d+ MiB", memory.value)
    assert progress.value == "told 1 times on the way"  # four megabytes are one commit
    assert [row[0].partition(",")[0] for row in outcome.tables[0].rows] == ["0.001 GB", "0.004 GB"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "feed-clean-2000.parquet"]


@pytest.mark.faults  # two minutes
def test_commands_on_a_store_that_is_some_way_off_are_timed_and_counted(tmp_path: Path) -> None:
    outcome = store.measure(Context("tiny", tmp_path, tmp_path / "cache", tmp_path, lambda _: None))
    (table,) = outcome.tables
    assert table.columns == ("", "0 ms a request", "20 ms a request", "requests")
    assert [row[0] for row in table.rows] == ["`run` over one event", "`run` over nothing", "`sql` over one table", "`status`"]
    assert all(int(row[-1].replace(",", "")) > 0 for row in table.rows)


def test_every_goal_is_a_module() -> None:
    folder = Path(end_to_end.__file__).parent
    assert all((folder / f"{goal}.py").is_file() for goal in GOALS)
