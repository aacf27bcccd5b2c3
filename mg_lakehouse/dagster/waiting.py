"""Waits for a slot in a pool with a message and a timeout, for a run in this process.

Dagster (1.13) waits for a slot in a busy loop that prints nothing and defers Ctrl-C and SIGTERM to the next step. The same loop waits until a
step is retried. Both waits go through one method, which :func:`attended` replaces inside its block.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import dagster as dg

from mg_lakehouse._util.progress import remark
from mg_lakehouse.dagster.internals import ActiveExecution, check_captured_interrupt
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
    """Supervises the waits of a run: reports the run it waits for, ends dead runs, and gives up after ``seconds`` behind a live one."""

    instance: dg.DagsterInstance
    names: Names
    run_id: str
    seconds: float
    failure: LakehouseError | None = None
    """The error that ended the run; Dagster reports it as a failure of its own."""

    _holder: str | None = field(default=None, init=False)
    _since: float | None = field(default=None, init=False)
    _looked: float = field(default=0.0, init=False)

    def wait(self, seconds: float) -> None:
        """Wait a moment, until a step may be ready.

        Raises:
            DagsterExecutionInterruptedError: a signal asked the run to stop.
            TransientError: a live run has held the slot for too long.
        """
        if check_captured_interrupt():
            self.failure = InterruptedRunError(STOPPED)
            raise dg.DagsterExecutionInterruptedError
        if time.monotonic() - self._looked >= _LOOK_SECONDS:
            self.look()
            self._looked = time.monotonic()
        time.sleep(min(_NAP_SECONDS, seconds) if seconds > 0 else _NAP_SECONDS)

    def look(self) -> None:
        """End dead runs, and report the run that this one waits for.

        Raises:
            TransientError: a live run has held the slot for too long.
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
    """Let the attendant supervise the waits of the run in this block."""
    sleep = ActiveExecution.sleep_til_ready

    def wait(execution: Any) -> None:
        attendant.wait(execution.sleep_interval())

    ActiveExecution.sleep_til_ready = wait  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        ActiveExecution.sleep_til_ready = sleep  # type: ignore[method-assign]
