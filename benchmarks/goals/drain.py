"""From the queue emulator into bronze, with deletes: messages a second, and that memory stays flat."""

from __future__ import annotations

import shutil
from typing import Final

from benchmarks.goals.context import Context
from benchmarks.goals.tables import mib, verdict
from benchmarks.harness.compare import Spread
from benchmarks.harness.memory import thinned
from benchmarks.harness.outcome import Curve, Outcome, Plot, Reached, Table
from benchmarks.harness.processes import Done, WorkFailedError, run, work_command
from benchmarks.work.queue_process import filled_queue

TITLE: Final = "Drain: from the queue into bronze"
_RATE: Final = 3_000
_PEAK: Final = 2**30
_ROUNDS: Final = 3


def measure(context: Context) -> Outcome:
    """Drain a full queue a few times, each time a new one into a new lake.

    Raises:
        WorkFailedError: a drain failed or left messages in the queue.
    """
    file, feed = context.feed()
    messages = context.size.drain_messages
    rounds: list[Done] = []
    for _ in range(min(_ROUNDS, context.size.rounds)):
        lake = context.folder / "lake"
        with filled_queue(file, messages) as environment:
            done = run(work_command("drain"), {"lake": str(lake), "environment": dict(environment)})
        shutil.rmtree(lake)
        if done.answer["events"] != messages or done.answer["deleted"] != messages:
            raise WorkFailedError(
                f"Of {messages:,} messages {done.answer['events']:,} came to bronze and {done.answer['deleted']:,} were deleted."
            )
        rounds.append(done)
        context.say(f"{messages / done.answer['seconds']:,.0f} messages/s, {mib(done.peak_bytes)}")
    rates = Spread.of([messages / done.answer["seconds"] for done in rounds])
    flat = Spread.of([_late_growth(done) for done in rounds])
    peak = max(done.peak_bytes for done in rounds)
    size = int(feed["body"].str.len_bytes().sum()) / feed.height
    note = f"{messages:,} messages of {size:,.0f} bytes; the emulator answers from another process on the same cores. Default settings."
    row = (rates.text(",.0f"), mib(peak), flat.text("+.0%"), f"{rounds[-1].answer['commits']:,}")
    return Outcome(
        "drain",
        TITLE,
        [
            Reached(
                "drain into bronze, with deletes",
                f"at least {_RATE:,} messages/s",
                rates.text(",.0f"),
                verdict(rates.median, at_least=_RATE),
            ),
            Reached("the drain's peak memory", f"under {_PEAK // 2**20:,} MiB", mib(peak), verdict(peak, at_most=_PEAK)),
        ],
        [Table(TITLE, ("messages/s", "peak memory", "memory, second half against first", "commits"), [row], note)],
        [_memory(rounds[-1])],
        (),
        {"seconds": [done.answer["seconds"] for done in rounds], "cpu_seconds": [done.answer["cpu_seconds"] for done in rounds]},
    )


def _late_growth(done: Done) -> float:
    """By how much the most memory of the second half exceeds that of the first, as a share."""
    half = len(done.memory) // 2
    first, second = (max((point.bytes for point in part), default=1) for part in (done.memory[:half], done.memory[half:]))
    return second / max(first, 1) - 1


def _memory(done: Done) -> Plot:
    points = thinned(list(done.memory))
    curve = Curve("resident memory", [point.seconds for point in points], [point.bytes / 2**20 for point in points])
    return Plot("drain-memory", "Memory of a drain", "seconds", "MiB", [curve])
