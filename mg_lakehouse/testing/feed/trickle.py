"""A feed without an end, for a pipeline that somebody looks at while it runs."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from threading import Event
from typing import TYPE_CHECKING

from mg_lakehouse.testing.feed.feed import FeedPlan, generate

if TYPE_CHECKING:
    from mg_lakehouse.testing.sqs import SqsEmulator

__all__ = ["trickle"]


def trickle(
    queue: SqsEmulator,
    stop: Event,
    *,
    seed: int | None = None,
    bundles_a_minute: float = 30.0,
    events_a_round: int = 300,
    progress: Callable[[int], None] | None = None,
) -> int:
    """Publish a small, steady stream of fresh bundles until ``stop`` is set; return the number of messages sent.

    Each round is a feed of its own: a few jobs of the last three hours. By default another stream each time: one seed at two
    times gives the same activity ids other contents. ``progress`` gets the number sent so far.
    """
    first = secrets.randbits(32) if seed is None else seed
    sent = 0
    for number in range(1_000_000):
        now = datetime.now(UTC)
        plan = FeedPlan(seed=first + number, events=events_a_round, jobs=3, start=now - timedelta(hours=3), end=now)
        for bundle in generate(plan).bundles:
            if stop.wait(60.0 / bundles_a_minute):
                return sent
            sent += len(queue.publish([bundle.body]))
            if progress is not None:
                progress(sent)
    return sent
