"""Bronze to silver with Delta writes: ours beside the lxml loop, dlt and Spark, and what encoding alone does."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from benchmarks.data.bronze import copy_lake, fill
from benchmarks.goals.context import Context
from benchmarks.goals.tables import bars, rate_table, verdict
from benchmarks.harness.compare import Contender, Measured, compare, ratios
from benchmarks.harness.outcome import Outcome, Reached
from benchmarks.harness.peers import Peer, available
from benchmarks.harness.processes import Done, WorkFailedError, run, work_command
from mg_lakehouse.events.catalogue import EVENTS
from mg_lakehouse.lake.lake import Lake

TITLE: Final = "Bronze to silver, end to end with Delta writes"
_OURS: Final = "mg_lakehouse"
_LOOP: Final = "(a) lxml loop, Polars, Delta"
_PEERS: Final = (
    Peer("(b) dlt, xmltodict, Delta", "dlt", "dlt_xmltodict.py", needs_java=False),
    Peer("(c) Spark, from_xml, Parquet", "spark", "spark_xml.py", needs_java=True),
)
_RATE: Final = 250_000
_GOALS: Final = {_LOOP: 4.0, _PEERS[0].name: 20.0, _PEERS[1].name: 10.0}


def measure(context: Context) -> Outcome:
    """Time everybody who is there on the same bronze table.

    Raises:
        WorkFailedError: a process failed, or somebody made another number of rows.
    """
    file, feed = context.feed()
    events = int(feed["items"].sum())
    bronze = context.folder / "bronze-lake"
    fill(Lake(str(bronze)), feed, events=events)
    given = {"feed": str(file), "events": events, "kinds": _kinds()}
    contenders = [
        Contender(_OURS, _on_copies(context, bronze, work_command("silver"), given), context.size.rounds),
        Contender(_LOOP, _on_copies(context, bronze, work_command("silver-lxml"), given), context.size.rounds),
    ]
    missing = []
    for peer in _PEERS:
        reason = available(peer)
        if reason is None:
            contenders.append(Contender(peer.name, _on_copies(context, bronze, peer.command(), given), context.size.slow_rounds))
        else:
            missing.append(f"{peer.name} was not measured: {reason}")
            context.say(missing[-1])
    contenders.append(Contender("limit: Parquet encoding of the rows", lambda _: run(work_command("encode"), given), context.size.rounds))
    found = compare(contenders, context.say)
    _require_same_rows(found)
    return Outcome(
        "end_to_end",
        TITLE,
        _reached(found),
        [_table(found, events)],
        [bars("end-to-end", TITLE, list(found.values()))],
        missing,
        _raw(found),
    )


def _kinds() -> dict[str, list[str]]:
    """Children of each element, for whoever needs a schema beforehand."""
    return {
        element: sorted({child.partition("/")[0] for column in event.columns for child in column.elements})
        for event in EVENTS
        for element in event.elements
    }


def _on_copies(context: Context, bronze: Path, command: list[str], given: Mapping[str, Any]) -> Callable[[int], Done]:
    """Each round on a lake of its own, which is gone afterwards."""

    def once(_: int) -> Done:
        lake = copy_lake(bronze, context.folder / "lake")
        try:
            return run(command, {**given, "lake": str(lake)})
        finally:
            shutil.rmtree(lake)

    return once


def _require_same_rows(found: Mapping[str, Measured]) -> None:
    wanted = found[_OURS].answer["rows"]
    wrong = [f"{name}: {each.answer['rows']:,}" for name, each in found.items() if each.answer.get("rows", wanted) != wanted]
    if wrong:
        raise WorkFailedError(f"mg_lakehouse made {wanted:,} rows, but {'; '.join(wrong)}.")


def _reached(found: Mapping[str, Measured]) -> list[Reached]:
    ours = found[_OURS]
    rates = ours.rates
    reached = [
        Reached(
            "bronze to silver, end to end with Delta writes",
            f"at least {_RATE:,} events/s on two cores",
            f"{rates.median:,.0f} ({rates.least:,.0f} to {rates.greatest:,.0f})",
            verdict(rates.median, at_least=_RATE),
        )
    ]
    for name, goal in _GOALS.items():
        if name in found:
            ratio = ratios(found[name], ours)
            reached.append(
                Reached(f"the same, against {name}", f"at least {goal:g}x", ratio.text(".1f", "x"), verdict(ratio.median, at_least=goal))
            )
    return reached


def _table(found: Mapping[str, Measured], events: int) -> Any:
    note = (
        f"{events:,} events from one bronze table, every row de-duplicated by its id but for dlt's and Spark's, which append as they read. Imports and a first "
        "small batch are before the clock starts; of Spark also the start of the JVM and a first pass over all of it."
    )
    return rate_table(TITLE, found[_OURS], [each for name, each in found.items() if name != _OURS], note=note)


def _raw(found: Mapping[str, Measured]) -> dict[str, Any]:
    return {
        name: {"seconds": each.seconds, "cpu_seconds": each.cpu_seconds, "peak_bytes": each.peak_bytes, **dict(each.answer)}
        for name, each in found.items()
    }
