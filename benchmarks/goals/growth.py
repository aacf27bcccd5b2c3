"""What a micro-batch and the gold refresh behind it cost, as history grows from a million rows to a hundred million.

One lake grows from size to size, its gold with it: one build takes in all that is new since the size before, as after a backfill. A hundred million rows
take an hour or two: in a folder of the caller's the sizes stay, and a run that was ended goes on from those that are there.
Of each size the same batches go through silver alone, in one process that is warm, and through silver and gold, on copies of the lake; the sizes
follow each other, for silver by turns, for a machine's speed can change by half within the hour that a large one takes to grow.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, time
from pathlib import Path
from typing import Any, Final

import polars as pl

from benchmarks.data.bronze import copy_lake
from benchmarks.data.history import LAST_DAY, LONGEST_DAYS, History
from benchmarks.data.writing import bundled
from benchmarks.goals.context import Context
from benchmarks.goals.growth_tables import BATCH, TITLE, Found, plots, reached, tables
from benchmarks.goals.tables import mib
from benchmarks.harness.compare import Spread
from benchmarks.harness.outcome import Outcome
from benchmarks.harness.processes import Done, WorkFailedError, run, work_command
from mg_lakehouse.gold.commit import digest
from mg_lakehouse.gold.project import compiled_project, definitions
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.settings import Settings

_SILVER_BATCHES: Final = 7
_TURNS: Final = 2
_FIRST_MESSAGE: Final = 10**9
_MIDNIGHT: Final = datetime.combine(LAST_DAY, time(0, 10), UTC)
_RECEIVED: Final = datetime.combine(LAST_DAY, time(10, 12), UTC)


@dataclass(frozen=True, slots=True)
class _Grown:
    """The lake at one size, and what it took to bring gold up to it, where that was one build. ``definition`` is the digest of what gold was made by."""

    rows: int
    days: int
    definition: int
    built: Done | None
    whole: Done | None
    tail: Done | None


def measure(context: Context) -> Outcome:
    """Grow a lake, and measure at each size.

    Raises:
        WorkFailedError: a build or a batch failed.
    """
    batches = _write_batches(context)
    tailed, tailed_jobs = _write_tailed(context)
    grown = list(_grow(context, tailed))
    turns = [[_on_copy(context, _lake(context, each.rows), "silver-batches", batches) for each in grown] for _ in range(_TURNS)]
    found = []
    for each, silver in zip(grown, map(_together, *turns), strict=True):
        lake = _lake(context, each.rows)
        has_gold = each.rows <= context.size.gold_rows
        gold = _on_copy(context, lake, "gold", batches[: context.size.history_rounds + 1]) if has_gold else None
        size = sum(file.stat().st_size for file in (lake / "silver").rglob("*.parquet"))
        found.append(Found(each.rows, each.days, size, silver, gold, each.built, each.whole, each.tail))
        refresh = "" if gold is None else f", gold {Spread.of(found[-1].of_refreshes('seconds')).text('.1f', ' s')}"
        context.say(f"{each.rows:,} rows: silver {found[-1].silver_seconds().text('.2f', ' s')}{refresh}")
    return Outcome("growth", TITLE, reached(found), tables(found, tailed_jobs), plots(found), (), _raw(found))


def _grow(context: Context, tailed: str) -> Iterator[_Grown]:
    """Grow from size to size. Each is kept, so that all can be measured by turns, within minutes of each other; what is there already is taken."""
    definition = digest(*map(str, definitions(compiled_project(Settings()), business_timezone="", key=b"").values()))
    before: _Grown | None = None
    for rows in context.size.history:
        history = History.of_rows(rows)
        size = _kept(context, history.rows, definition)
        if size is None:
            size = _grow_to(context, history, before, tailed, definition)
        else:
            context.say(f"{history.rows:,} rows are there already")
        yield size
        before = size


def _lake(context: Context, rows: int) -> Path:
    return context.kept / f"lake-{rows}"


def _account(context: Context, rows: int) -> Path:
    return context.kept / f"lake-{rows}.json"


def _kept(context: Context, rows: int, definition: int) -> _Grown | None:
    """A size that was grown before.

    Raises:
        WorkFailedError: its gold was made by other definitions, so that its first refresh would build it anew.
    """
    file = _account(context, rows)
    # The account is written before the lake gets its name: without the lake it says nothing yet.
    if not (file.is_file() and _lake(context, rows).is_dir()):
        return None
    known = json.loads(file.read_text())
    if known["definition"] != definition:
        raise WorkFailedError(
            f"The gold of {rows:,} rows in {context.kept} was made by other models than these: remove the folder, and it is grown anew."
        )
    done = {
        name: None if known[name] is None else Done(known[name]["answer"], known[name]["peak_bytes"]) for name in ("built", "whole", "tail")
    }
    return _Grown(**known | done)


def _grow_to(context: Context, history: History, before: _Grown | None, tailed: str, definition: int) -> _Grown:
    lake = context.kept / f"written-{history.rows}"
    goes_on = lake.exists()
    if not goes_on:
        _write(context, history, before, lake)
    built = whole = tail = None
    if history.rows <= context.size.gold_rows:
        done = run(work_command("gold"), {"lake": str(lake), "received": _MIDNIGHT.isoformat()})
        context.say(f"{history.rows:,} rows, gold built in {done.answer['seconds'][0]:.0f} s with {mib(done.peak_bytes)}")
        built = None if goes_on else done  # what an ended build had made took no time
    if history.rows <= context.size.whole_builds:
        whole = _build_whole(context, lake)
        tail = _on_copy(context, lake, "gold", [tailed])
    grown = _Grown(history.rows, history.days, definition, built, whole, tail)
    _account(context, history.rows).write_text(json.dumps(asdict(grown)))
    lake.rename(_lake(context, history.rows))
    return grown


def _write(context: Context, history: History, before: _Grown | None, lake: Path) -> None:
    """Write the silver that the size before lacks; the lake is there once it is whole."""
    growing = context.kept / "growing"
    shutil.rmtree(growing, ignore_errors=True)
    if before is not None:
        copy_lake(_lake(context, before.rows), growing)
    history.write(Lake(str(growing)), behind=0 if before is None else before.days)
    growing.rename(lake)
    context.say(f"{history.rows:,} rows of silver written")


def _together(*turns: Done) -> Done:
    """What the turns of the same work took."""
    answer = {name: [value for turn in turns for value in turn.answer[name]] for name in turns[0].answer}
    return Done(answer, max(turn.peak_bytes for turn in turns))


def _write_batches(context: Context) -> list[str]:
    history = History(1)
    files = []
    for number in range(max(_SILVER_BATCHES, context.size.history_rounds) + 1):
        file = context.folder / f"batch-{number}.parquet"
        bundled(history.batch(number, count=BATCH)).write_parquet(file)
        files.append(str(file))
    return files


def _write_tailed(context: Context) -> tuple[str, int]:
    """A batch whose opens and clicks are of jobs of up to a year ago, as the history's own are; the file, and how many jobs it touches."""
    rows = dict(History(1).batch(0, count=BATCH, longest_days=LONGEST_DAYS))
    file = context.folder / "batch-tail.parquet"
    bundled(rows.items()).write_parquet(file)
    return str(file), pl.concat(table["request_id"] for table in rows.values()).n_unique()


def _on_copy(context: Context, lake: Path, work: str, batches: Sequence[str]) -> Done:
    copy = copy_lake(lake, context.folder / "copy")
    try:
        asked = {"lake": str(copy), "batches": list(batches), "first": _FIRST_MESSAGE, "received": _RECEIVED.isoformat()}
        return run(work_command(work), asked)
    finally:
        shutil.rmtree(copy)


def _build_whole(context: Context, lake: Path) -> Done:
    copy = copy_lake(lake, context.folder / "copy")
    try:
        shutil.rmtree(copy / "gold")
        done = run(work_command("gold"), {"lake": str(copy), "received": _MIDNIGHT.isoformat()})
    finally:
        shutil.rmtree(copy)
    context.say(f"gold from nothing in {done.answer['seconds'][0]:.0f} s with {mib(done.peak_bytes)}")
    return done


def _raw(found: Sequence[Found]) -> dict[str, Any]:
    return {
        str(each.rows): {
            "silver": dict(each.silver.answer),
            "gold": None if each.gold is None else dict(each.gold.answer),
            "built": None if each.built is None else dict(each.built.answer),
        }
        for each in found
    }
