"""Where the time of bronze to silver goes."""

from __future__ import annotations

import shutil
from typing import Final

from benchmarks.data.bronze import copy_lake, fill
from benchmarks.goals.context import Context
from benchmarks.harness.compare import Spread
from benchmarks.harness.outcome import Curve, Outcome, Plot, Table
from benchmarks.harness.processes import Done, run, work_command
from mg_lakehouse.lake.lake import Lake

TITLE: Final = "Where the time goes"
_WHOLE: Final = "bronze to silver, whole"


def measure(context: Context) -> Outcome:
    """Time the stages a few times.

    Raises:
        WorkFailedError: a run failed.
    """
    file, feed = context.feed()
    events = int(feed["items"].sum())
    bronze = context.folder / "bronze-lake"
    fill(Lake(str(bronze)), feed, events=events)
    rounds = [_once(context, {"feed": str(file)}) for _ in range(context.size.rounds)]
    rows = []
    for name in rounds[0].answer["stages"]:
        seconds, cpu = (Spread.of([each.answer["stages"][name][kind] for each in rounds]) for kind in ("seconds", "cpu_seconds"))
        whole = Spread.of([each.answer["stages"][name]["seconds"] / each.answer["seconds"] for each in rounds])
        rows.append(
            (name, seconds.text(".2f", " s"), f"{cpu.median:.2f} s", f"{whole.median:.0%}", f"{seconds.median / events * 1e6:.2f} µs")
        )
        context.say(f"{name}: {rows[-1][1]}")
    note = f"{events:,} events. Each stage was run alone on the same messages; the last but one is what the whole takes beyond their sum."
    curves = [
        Curve(name, [0], [Spread.of([each.answer["stages"][name]["seconds"] for each in rounds]).median])
        for name in rounds[0].answer["stages"]
        if name != _WHOLE
    ]
    return Outcome(
        "stages",
        TITLE,
        (),
        [Table(TITLE, ("stage", "seconds", "CPU", "share", "an event"), rows, note)],
        [Plot("stages", f"{TITLE}, {events:,} events", "", "seconds", curves, kind="bars")],
        (),
        {"rounds": [dict(each.answer) for each in rounds]},
    )


def _once(context: Context, given: dict[str, str]) -> Done:
    lake = copy_lake(context.folder / "bronze-lake", context.folder / "lake")
    try:
        return run(work_command("stages"), given | {"lake": str(lake)})
    finally:
        shutil.rmtree(lake)
