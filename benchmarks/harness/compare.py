"""Contenders in turn, several rounds, and what one costs of another.

Round by round and not contender by contender: a machine that grows slower for a minute slows all of them, and the ratios are of
the same round. Every second round goes backwards, so that nobody is always the one behind the heavy one.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from benchmarks.harness.processes import Done

__all__ = ["Contender", "Measured", "Spread", "compare", "ratios"]


class Spread(NamedTuple):
    """Median of some numbers, and the least and the greatest of them."""

    median: float
    least: float
    greatest: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """The spread of at least one number."""
        return cls(statistics.median(values), min(values), max(values))

    def text(self, form: str = ".1f", unit: str = "") -> str:
        """As in ``5.1x (4.8 to 5.3)``."""
        return f"{self.median:{form}}{unit} ({self.least:{form}} to {self.greatest:{form}})"


@dataclass(frozen=True, slots=True)
class Contender:
    """Somebody who does the work. ``once`` does it in a process of its own; its answer has ``seconds`` and ``events``."""

    name: str
    once: Callable[[int], Done]
    rounds: int


@dataclass(frozen=True, slots=True)
class Measured:
    """What a contender's rounds gave. ``seconds`` of each round in order; ``answer`` is that of the last."""

    name: str
    seconds: Sequence[float]
    cpu_seconds: Sequence[float]
    events: int
    peak_bytes: int
    answer: Mapping[str, Any]

    @property
    def rates(self) -> Spread:
        """Events a second."""
        return Spread.of([self.events / seconds for seconds in self.seconds])

    @property
    def cores(self) -> float | None:
        """Cores used, at the median; ``None`` where the contender does not know."""
        used = [cpu / wall for cpu, wall in zip(self.cpu_seconds, self.seconds, strict=False)]
        return statistics.median(used) if used else None


def compare(contenders: Sequence[Contender], say: Callable[[str], None]) -> dict[str, Measured]:
    """Have all contenders do their rounds, by turns.

    Raises:
        WorkFailedError: one of them failed.
    """
    done: dict[str, list[Done]] = {contender.name: [] for contender in contenders}
    for round_ in range(max(contender.rounds for contender in contenders)):
        turn = [contender for contender in contenders if round_ < contender.rounds]
        for contender in turn if round_ % 2 == 0 else reversed(turn):
            result = contender.once(round_)
            done[contender.name].append(result)
            say(f"{contender.name}, round {round_ + 1}: {result.answer['seconds']:.2f} s, {result.peak_bytes / 2**20:,.0f} MiB")
    return {name: _measured(name, results) for name, results in done.items()}


def _measured(name: str, results: Sequence[Done]) -> Measured:
    last = results[-1].answer
    return Measured(
        name,
        [float(result.answer["seconds"]) for result in results],
        [float(result.answer["cpu_seconds"]) for result in results if "cpu_seconds" in result.answer],
        int(last["events"]),
        max(result.peak_bytes for result in results),
        last,
    )


def ratios(slower: Measured, faster: Measured) -> Spread:
    """How many times the time of ``faster`` the other one took, round by round as far as both went."""
    pairs = zip(slower.seconds, faster.seconds, strict=False)
    return Spread.of([theirs / ours for theirs, ours in pairs])
