"""The jobs of the demo: what was sent when, and how its recipients answer.

Each of the cast has one thing about it that its metrics must show: a bad list, a provider that blocks, a job
that failed, one that is still being sent.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Final, Literal

__all__ = ["ACCOUNT_ID", "Job", "Traits", "make_jobs"]

ACCOUNT_ID: Final = "10020030"

Kind = Literal["email", "sms", "push", "email+push", "errors"]


@dataclass(frozen=True, slots=True)
class Traits:
    """Probabilities, of a message unless said otherwise, that make a job what it is."""

    hard: float = 0.008
    soft: float = 0.008
    block: float = 0.004
    blocked_domains: frozenset[str] = frozenset()  # of these, nine in ten are blocked
    suppressed: float = 0.015
    rejected: float = 0.003
    unknown_code: float = 0.001
    render_error: float = 0.001
    deferred: float = 0.03
    out_of_band: float = 0.006  # of the delivered, as all below
    lost_delivery: float = 0.012
    open: float = 0.32
    click: float = 0.06
    unsubscribe: float = 0.004
    complaint: float = 0.0006


@dataclass(frozen=True, slots=True)
class Job:
    """One job. ``sent_at`` is the begin of its sending, ``minutes`` how long it takes."""

    kind: Kind
    request_id: str
    correlation_id: str | None
    job_category: str | None
    campaign_id: str | None
    campaign_version: str | None
    sent_at: datetime
    minutes: float
    weight: float
    transactional: bool
    errors: int
    traits: Traits


@dataclass(frozen=True, slots=True)
class _Role:
    """A part in the cast. ``age`` is the time from the job's begin to the feed's end."""

    kind: Kind
    letter: str
    name: str
    category: str | None
    age: timedelta
    minutes: float
    weight: float
    traits: Traits = Traits()
    errors: int = 0


_CAST: Final = (
    _Role("email", "b", "Spring newsletter, été 🌞", "Newsletter", timedelta(days=20), 180, 5),
    _Role("email", "b", "Win-back of a bought list", "Win-back", timedelta(days=12), 90, 2.5, Traits(hard=0.14, soft=0.03, open=0.12)),
    _Role("sms", "d", "Flash sale SMS", "Promotion", timedelta(days=6), 45, 1.5, Traits(hard=0.03, block=0.03)),
    _Role("push", "d", "App news & offers", "App", timedelta(days=9), 20, 1.5, Traits(hard=0.06, soft=0.02)),
    _Role(
        "email",
        "d",
        "Loyalty <gold> tier",
        "Loyalty",
        timedelta(days=16),
        240,
        3,
        Traits(blocked_domains=frozenset({"yahoo.com", "aol.com"})),
    ),
    _Role(
        "email",
        "t",
        "Order confirmations",
        "Transactional",
        timedelta(days=26),
        60 * 24 * 25.5,
        2.5,
        Traits(open=0.62, click=0.2, unsubscribe=0),
    ),
    _Role("email", "b", "Sweepstakes", "Promotion", timedelta(days=4), 60, 4, Traits(complaint=0.03, unsubscribe=0.03, open=0.2)),
    _Role("email", "b", "Template draft sent by mistake", "Newsletter", timedelta(days=7), 30, 1, Traits(render_error=0.3)),
    _Role("errors", "b", "My Job Id: 101010", "Newsletter", timedelta(days=5), 1, 0, errors=2),
    _Role(
        "email", "c", "Password resets", None, timedelta(days=35), 60 * 24 * 30, 1, Traits(open=0.7, click=0.5, unsubscribe=0, complaint=0)
    ),
    _Role("email", "b", "Weekly digest", "Newsletter", timedelta(days=1, hours=6), 120, 2.5),
    _Role("email", "b", "Breaking offer", "Promotion", timedelta(minutes=50), 90, 1.2),
    _Role("email+push", "d", "Product launch", "Promotion", timedelta(days=3), 60, 2),
    _Role("sms", "t", "Delivery notices", "Transactional", timedelta(days=18), 60 * 24 * 14, 1, Traits(hard=0.01)),
    _Role("email", "b", "Old campaign", "Newsletter", timedelta(days=38), 120, 2, Traits(deferred=0.2)),
    _Role("email", "k", "External system mailing", None, timedelta(days=33), 240, 1, errors=1),
)


def make_jobs(count: int, *, start: datetime, end: datetime, rng: Random) -> list[Job]:
    """``count`` jobs between ``start`` and ``end`` (aware, UTC); past the cast's length its parts are played again."""
    return [_job(index, start=start, end=end, rng=rng) for index in range(count)]


def _job(index: int, *, start: datetime, end: datetime, rng: Random) -> Job:
    role = _CAST[index % len(_CAST)]
    turn = index // len(_CAST)
    span = end - start
    # The cast is told for 40 days; a shorter or longer feed keeps its proportions, the job still being sent apart.
    scale = span / timedelta(days=40)
    age = role.age if role.age < timedelta(hours=2) and span > timedelta(hours=3) else role.age * scale
    age = min(span, age + timedelta(hours=7 * turn) * scale)
    campaign = role.letter in "cd"
    return Job(
        kind=role.kind,
        request_id=_request_id(role.letter, end - age, rng, legacy=index % 2 == 0),
        correlation_id=None if index % 7 == 6 else f"{role.name}{f' #{turn + 1}' if turn else ''}: {rng.randrange(10**5, 10**6)}",
        job_category=role.category,
        campaign_id=str(4_000 + index) if campaign else None,
        campaign_version=str(1 + index % 3) if campaign else None,
        sent_at=end - age,
        minutes=max(1.0, role.minutes * min(1.0, scale)),
        weight=role.weight,
        transactional=role.letter in "ct",
        errors=role.errors,
        traits=role.traits,
    )


def _request_id(letter: str, sent_at: datetime, rng: Random, *, legacy: bool) -> str:
    """A request id in the old shape (letter, day of year, year, UUID) or the new (``02-``, letter, digits, 32 hex)."""
    day = sent_at.timetuple().tm_yday
    year = sent_at.year % 100
    token = f"{rng.getrandbits(128):032x}"
    if not legacy:
        return f"02-{letter}{year:02d}{day:03d}-{token}"
    return f"{letter}{day:03d}{year:02d}-{token[:8]}-{token[8:12]}-{token[12:16]}-{token[16:20]}-{token[20:]}"
