"""Waiting for a place in a pool with a word and an end, in a run of this process.

Dagster (1.13) waits for a place in a loop that neither a signal nor a sentence gets into: it sleeps not at all, and has Ctrl-C and SIGTERM noted
for the next step. The same loop waits until a step is tried again. Both waits go through one method, which is ours within the block.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import dagster as dg
from dagster._utils.interrupts import check_captured_interrupt

from mg_lakehouse._util.progress import remark
from mg_lakehouse.dagster.internals import ActiveExecution
from mg_lakehouse.dagster.interrupts import STOPPED
from mg_lakehouse.dagster.liveness import end_dead_runs
from mg_lakehouse.dagster.names import Names
from mg_lakehouse.dagster.pools import Holder, holder_of
from mg_lakehouse.errors import InterruptedRunError, LakehouseError, TransientError

__all__ = ["Attendant", "attended"]

_LOOK_SECONDS: Final = 2.0
_NAP_SECONDS: Final = 0.2


@dataclass
class Attendant:
    """Looks after the waits of a run: says whom it waits for, ends who is dead, and gives up after ``seconds`` behind one that lives."""

    instance: dg.DagsterInstance
    names: Names
    run_id: str
    seconds: float
    failure: LakehouseError | None = None
    """What ended the run, which Dagster has for a failure of its own."""

    _holder: str | None = field(default=None, init=False)
    _since: float | None = field(default=None, init=False)
    _looked: float = field(default=0.0, init=False)

    def wait(self, seconds: float) -> None:
        """Wait a moment, until a step may be ready.

        Raises:
            DagsterExecutionInterruptedError: somebody wants the run to stop.
            TransientError: a live run has held the place for too long.
        """
        if check_captured_interrupt():
            self.failure = InterruptedRunError(STOPPED)
            raise dg.DagsterExecutionInterruptedError
        if time.monotonic() - self._looked >= _LOOK_SECONDS:
            self.look()
            self._looked = time.monotonic()
        time.sleep(min(_NAP_SECONDS, seconds) if seconds > 0 else _NAP_SECONDS)

    def look(self) -> None:
        """End who is dead, and say whom the run waits for.

        Raises:
            TransientError: a live run has held the place for too long.
        """
        for sentence in end_dead_runs(self.instance, self.names):
            remark(sentence)
        holder = holder_of(self.instance, self.names, self.run_id)
        if holder is None:
            self._holder = self._since = None
            return
        self._since = self._since or time.monotonic()
        if holder.run_id != self._holder:
            self._holder = holder.run_id
            remark(f"{holder} This one waits for it, {self.seconds:g} seconds at most.")
        if time.monotonic() - self._since > self.seconds:
            self.failure = _taken(holder)
            raise self.failure


def _taken(holder: Holder) -> TransientError:
    return TransientError(f"{holder} What was committed stays: run this again when that run has ended, or wait longer with --wait.")


@contextmanager
def attended(attendant: Attendant) -> Iterator[None]:
    """Have the waits of the run of this block looked after."""
    sleep = ActiveExecution.sleep_til_ready

    def wait(execution: Any) -> None:
        attendant.wait(execution.sleep_interval())

    ActiveExecution.sleep_til_ready = wait  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        ActiveExecution.sleep_til_ready = sleep  # type: ignore[method-assign]
