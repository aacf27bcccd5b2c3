"""Flattening of feeds in other shapes than the benchmarks' own, beside the plain one and the lxml loop: no shape may be a cliff."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from benchmarks.data.shapes import BROKEN, PLAIN, WELL_FORMED, shaped
from benchmarks.goals.context import Context
from benchmarks.goals.tables import bars, verdict
from benchmarks.harness.compare import Contender, Measured, Spread, compare
from benchmarks.harness.outcome import Outcome, Reached, Table
from benchmarks.harness.processes import WorkFailedError, run, work_command

TITLE: Final = "XML in other shapes"
_DEMO: Final = "the demo's feed"
_OF_PLAIN: Final = 0.6
_OF_LOOP: Final = 4.0
_BROKEN_OF_PLAIN: Final = 0.3
_ROUNDS: Final = 3
_TRIES: Final = 5
_TRIES_OF_LOOP: Final = 2
"""In each process, of which the quickest counts: a shape takes an eighth of a second, which any other process of the machine upsets."""

_SHARE: Final = 4
"""A quarter of the events of `flatten`: there are two dozen shapes."""


def measure(context: Context) -> Outcome:
    """Time every shape, and the loop on those that it reads the same.

    Raises:
        WorkFailedError: a process of ours failed.
    """
    events, rounds = context.size.events // _SHARE, min(_ROUNDS, context.size.rounds)
    _, feed = context.feed(events=events)
    files = {name: context.folder / f"shape-{number}.parquet" for number, name in enumerate((*WELL_FORMED, *BROKEN))}
    for name, shape in (WELL_FORMED | BROKEN).items():
        shaped(feed, shape).write_parquet(files[name])
    loops = [name for name in WELL_FORMED if _loop_reads_the_same(files[name])]
    context.say(f"the lxml loop gives the same rows for {len(loops)} of {len(WELL_FORMED)} shapes")
    files[_DEMO] = context.feed(events=events, mix="demo")[0]
    found = compare(
        [
            *(_contender(name, "flatten", file, rounds, tries=_TRIES) for name, file in files.items()),
            *(_contender(_loop(name), "flatten-lxml", files[name], rounds, tries=_TRIES_OF_LOOP) for name in loops),
        ],
        context.say,
    )
    plain = found[PLAIN]
    well_formed = {name: _speed(found[name], plain) for name in WELL_FORMED}
    broken = {name: _speed(found[name], plain) for name in (*BROKEN, _DEMO)}
    against = {name: _speed(found[name], found[_loop(name)]) for name in loops}
    return Outcome(
        "cliffs",
        TITLE,
        [
            _reached("cliffs: the slowest well-formed shape, against the plain one", well_formed, _OF_PLAIN),
            _reached("of it: the slowest against the lxml loop, where that gives the same rows", against, _OF_LOOP),
            _reached("of it: the slowest with broken items, against the plain one", broken, _BROKEN_OF_PLAIN),
        ],
        [_table(found, well_formed | broken, against)],
        [bars("cliffs", TITLE, [found[name] for name in files])],
        [],
        {name: {"seconds": each.seconds, "cpu_seconds": each.cpu_seconds, "events": each.events} for name, each in found.items()},
    )


def _contender(name: str, work: str, file: Path, rounds: int, *, tries: int) -> Contender:
    return Contender(name, lambda _: run(work_command(work), {"feed": str(file), "tries": tries}), rounds)


def _loop(name: str) -> str:
    return f"lxml loop, {name}"


def _loop_reads_the_same(file: Path) -> bool:
    """Whether the loop gives the rows that we give. It stops at items of other names and where a body has another root."""
    try:
        return not run(work_command("same-rows"), {"feed": str(file)}).answer["differences"]
    except WorkFailedError:
        return False


def _speed(one: Measured, other: Measured) -> Spread:
    """How many times the events a second of ``other`` the first one makes, round by round."""
    pairs = zip(one.seconds, other.seconds, strict=True)
    return Spread.of([(one.events / its) / (other.events / others) for its, others in pairs])


def _reached(what: str, speeds: Mapping[str, Spread], goal: float) -> Reached:
    name, slowest = min(speeds.items(), key=lambda pair: pair[1].median)
    return Reached(what, f"at least {goal:g}x", f"{slowest.text('.2f', 'x')}, {name}", verdict(slowest.median, at_least=goal))


def _table(found: Mapping[str, Measured], of_plain: Mapping[str, Spread], of_loop: Mapping[str, Spread]) -> Table:
    rows = [
        (
            name,
            f"{found[name].rates.median:,.0f}",
            f"{Spread.of(found[name].cpu_seconds).median / found[name].events * 1e6:.1f} µs",
            "" if name == PLAIN else speed.text(".2f", "x"),
            of_loop[name].text(".1f", "x") if name in of_loop else "",
        )
        for name, speed in of_plain.items()
    ]
    note = (
        f"{found[PLAIN].events:,} events, in each shape the same; of {_TRIES} tries in a process, {_TRIES_OF_LOOP} of the loop, the quickest counts. Without a number in the last column the loop stops, or gives other rows: it takes "
        "the last of two elements, has no ids where the feed has none, and knows no other root, item or form of a time."
    )
    return Table(TITLE, ("", "events/s, median", "CPU an event", "of the plain shape", "times the lxml loop"), rows, note)
