"""XML bodies to typed frames: ours beside the lxml loop, what the parsers alone do, and that the rows are the same."""

from __future__ import annotations

from typing import Final

from benchmarks.goals.context import Context
from benchmarks.goals.tables import bars, rate_table, verdict
from benchmarks.harness.compare import Contender, compare, ratios
from benchmarks.harness.outcome import Outcome, Reached
from benchmarks.harness.processes import WorkFailedError, run, work_command

TITLE: Final = "XML bodies to typed frames"
_GOAL: Final = 5.0


def measure(context: Context) -> Outcome:
    """Time both, and the parsers, on the same bodies.

    Raises:
        WorkFailedError: a process failed, or the two ways to flatten gave different rows.
    """
    size = context.size
    file, feed = context.feed()
    odd, _ = context.feed(mix="demo")
    asked = {"feed": str(file)}
    same = run(work_command("same-rows"), asked).answer
    if same["differences"]:
        raise WorkFailedError(f"mg_lakehouse and the lxml loop give different rows: {', '.join(same['differences'])}.")
    context.say(f"the rows are the same: {same['rows']:,}")
    works = {
        "mg_lakehouse": ("flatten", asked),
        "(a) lxml loop": ("flatten-lxml", asked),
        "mg_lakehouse, the demo's feed": ("flatten", {"feed": str(odd)}),
        "limit: lxml parses": ("parse-lxml", asked),
        "limit: xml2arrow parses, 1 thread": ("parse-xml2arrow", asked | {"threads": 1}),
        "limit: xml2arrow parses, 2 threads": ("parse-xml2arrow", asked | {"threads": 2}),
    }
    contenders = [
        Contender(name, lambda _, work=work, given=given: run(work_command(work), given), size.rounds)  # type: ignore[misc]
        for name, (work, given) in works.items()
    ]
    found = compare(contenders, context.say)
    ours, loop = found["mg_lakehouse"], found["(a) lxml loop"]
    ratio = ratios(loop, ours)
    average = int(feed["body"].str.len_bytes().sum()) / int(feed["items"].sum())
    note = (
        f"{int(feed['items'].sum()):,} events in {feed.height:,} messages, {average:.0f} bytes an event; bodies in memory before the clock starts. The demo's feed is "
        "one item in eight written in an unusual way, broken items and broken bodies, which the lxml loop does not survive."
    )
    return Outcome(
        "flatten",
        TITLE,
        [
            Reached(
                "flatten: XML bodies to typed frames, both cores, same rows",
                f"at least {_GOAL:g}x the lxml loop",
                ratio.text(".2f", "x"),
                verdict(ratio.median, at_least=_GOAL),
            )
        ],
        [rate_table(TITLE, ours, [each for name, each in found.items() if name != "mg_lakehouse"], note=note)],
        [bars("flatten", TITLE, list(found.values()))],
        [f"The rows of both are the same: {same['rows']:,} rows compared, column by column."],
        {name: {"seconds": each.seconds, "cpu_seconds": each.cpu_seconds, "peak_bytes": each.peak_bytes} for name, each in found.items()},
    )
