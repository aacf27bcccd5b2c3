"""What is told of growth, reckoned from made-up measurements."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.goals import growth
from benchmarks.goals.context import Context
from benchmarks.goals.growth_tables import Found, plots, reached, tables
from benchmarks.harness.processes import Done, WorkFailedError

MIB = 2**20


def gold(*seconds: float) -> Done:
    answer = {
        "seconds": list(seconds),
        "cpu_seconds": [2 * each for each in seconds],
        "models": [each / 2 for each in seconds],
        "tests": [1.0] * len(seconds),
        "nodes": [{"fct_messages": each / 4, "dim_jobs": 0.5} for each in seconds],
    }
    return Done(answer, 900 * MIB)


def found(rows: int, silver: list[float], refresh: list[float], whole: Done | None = None) -> Found:
    batches = Done({"silver_seconds": silver, "silver_cpu_seconds": silver}, 300 * MIB)
    # The first refresh reads what the disk had not read yet: it does not count.
    return Found(rows, rows // 250_000, 50 * MIB, batches, gold(99.0, *refresh), gold(50.0), whole, whole)


SMALL = found(1_000_000, [1.0, 1.0, 2.0], [10.0, 11.0, 12.0], gold(40.0))
LARGE = found(100_000_000, [1.2, 1.1, 1.3], [22.0, 20.0, 33.0])


def test_the_goals_compare_the_largest_history_with_the_smallest() -> None:
    silver, refresh = reached([SMALL, LARGE])
    assert (silver.value, silver.met) == ("1.20x (1.10 to 1.30)", True)
    assert (refresh.value, refresh.met) == ("2.00x (1.82 to 3.00)", False)
    assert "1 M to 100 M rows" in silver.what


def test_the_tables_have_a_line_for_each_size_and_leave_out_what_was_not_measured() -> None:
    cost, models, builds = tables([SMALL, LARGE], 403)
    assert [row[0] for row in cost.rows] == ["1 M", "100 M"]
    assert "11.0 s (10.0 to 12.0)" in " ".join(cost.rows[0])
    assert models.columns == ("model", "1 M", "100 M")
    assert ("`fct_messages`", "2.8 s", "5.5 s") in models.rows
    assert builds.rows[0] == ("1 M", "1 M", "50 s", "900 MiB", "40 s", "900 MiB", "40 s", "900 MiB")
    assert builds.rows[1] == ("100 M", "99 M", "50 s", "900 MiB", "", "", "", "")
    assert "403 jobs" in builds.note
    assert all(len(row) == len(table.columns) for table in (cost, models, builds) for row in table.rows)


def test_gold_is_compared_up_to_the_largest_size_that_has_gold() -> None:
    without = replace(LARGE, rows=200_000_000, gold=None, built=None)
    silver, refresh = reached([SMALL, LARGE, without])
    assert "1 M to 200 M rows" in silver.what
    assert "1 M to 100 M rows" in refresh.what
    cost, models, builds = tables([SMALL, LARGE, without], 403)
    assert (cost.rows[2][0], cost.rows[2][3], cost.rows[2][6:]) == ("200 M", "1.20 s (1.10 to 1.30)", ("", "", "", ""))
    assert (models.columns, len(builds.rows)) == (("model", "1 M", "100 M"), 2)
    of_silver, of_gold = plots([SMALL, LARGE, without])
    assert [len(each.curves[0].x) for each in (of_silver, of_gold)] == [3, 2]


def test_the_curves_are_over_rows_and_have_their_spread() -> None:
    silver, refresh = plots([SMALL, LARGE])
    (curve,) = silver.curves
    assert (curve.x, curve.y, curve.low, curve.high) == ([1_000_000, 100_000_000], [1.0, 1.2], [1.0, 1.1], [2.0, 1.3])
    assert [each.name for each in refresh.curves] == ["gold refresh", "of it models"]


def test_a_kept_lake_of_other_models_is_refused(tmp_path: Path) -> None:
    known = {"rows": 250_000, "days": 1, "definition": 7, "built": None, "whole": None, "tail": None}
    (tmp_path / "lake-250000.json").write_text(json.dumps(known))
    (tmp_path / "lake-250000").mkdir()
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(WorkFailedError, match=r"250,000 rows in .* made by other models than these: remove the folder"):
        growth.measure(Context("tiny", folder, tmp_path / "cache", tmp_path, print))
