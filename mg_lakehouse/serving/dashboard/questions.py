"""What the dashboard asks the lake: SQL over the catalogue's views, each answer small whatever the lake holds.

Answers are Polars frames. A lake that lacks a table of gold has no answer: :class:`NotBuiltError`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

import polars as pl

from mg_lakehouse.errors import PermanentError
from mg_lakehouse.lake.sql import Value, filled_in
from mg_lakehouse.serving.queries import query
from mg_lakehouse.serving.sandbox.sandbox import AdHoc, QueryError

__all__ = [
    "Choice",
    "NotBuiltError",
    "Wanted",
    "bounces",
    "choices",
    "curve",
    "daily",
    "errors",
    "feed",
    "jobs",
    "lags",
    "links",
    "providers",
    "rejected",
    "suppressed",
    "suppressed_by_reason",
]

_MOST_JOBS: Final = 500
_MOST_LINKS: Final = 50
_NAMED_TYPES: Final = 8
_HOURS: Final = 72


class NotBuiltError(PermanentError):
    """Gold was never built, or not the table that is asked for."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What there is to choose from: the days of jobs, their categories and campaigns, in order; ``None`` for a lake without jobs."""

    first: date | None
    last: date | None
    categories: tuple[str, ...]
    campaigns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is looked at: jobs of some days in the business time zone, and of some categories or campaigns where any are named."""

    first: date
    last: date
    categories: Sequence[str] = ()
    campaigns: Sequence[str] = ()

    @property
    def values(self) -> dict[str, Value]:
        """What a query may name of it."""
        return {"first": self.first, "last": self.last, "categories": self.categories, "campaigns": self.campaigns}


def _answer(asked: AdHoc, name: str, **values: Value) -> pl.DataFrame:
    """The rows of a query of the dashboard's. The lake is asked in another process, which takes no bound parameters."""
    try:
        return pl.DataFrame(asked.rows(filled_in(query(f"dashboard/{name}"), values)).read_all())
    except QueryError as error:
        if "does not exist" in str(error):
            raise NotBuiltError("Gold was not built yet: run `mg-lakehouse run`, or try `mg-lakehouse demo`.") from None
        raise


def choices(asked: AdHoc) -> Choice:
    """What there is to choose from.

    Raises:
        NotBuiltError: there is no gold.
    """
    found = _answer(asked, "choices").row(0, named=True)
    return Choice(found["first"], found["last"], tuple(found["categories"] or ()), tuple(found["campaigns"] or ()))


def jobs(asked: AdHoc, wanted: Wanted) -> pl.DataFrame:
    """The newest jobs with funnel and rates, by job and channel."""
    return _answer(asked, "jobs", **wanted.values, most=_MOST_JOBS)


def daily(asked: AdHoc, wanted: Wanted) -> pl.DataFrame:
    """Sums of all jobs of a day: ``day``, ``channel`` and the funnel."""
    return _answer(asked, "daily", **wanted.values)


def curve(asked: AdHoc, request_id: str) -> pl.DataFrame:
    """A job's openers and clickers by age, as far as it has come."""
    return _answer(asked, "curve", request_id=request_id)


def bounces(asked: AdHoc, wanted: Wanted, request_id: str | None = None) -> pl.DataFrame:
    """Failures by day, class and category: of all jobs wanted, or of one."""
    if request_id:
        return _answer(asked, "bounces_of_job", request_id=request_id)
    return _answer(asked, "bounces", **wanted.values)


def providers(asked: AdHoc, request_id: str) -> pl.DataFrame:
    """A job's e-mail by mailbox provider."""
    return _answer(asked, "providers", request_id=request_id)


def links(asked: AdHoc, request_id: str) -> pl.DataFrame:
    """A job's links by people who clicked them."""
    return _answer(asked, "links", request_id=request_id, most=_MOST_LINKS)


def errors(asked: AdHoc, request_id: str) -> pl.DataFrame:
    """Errors of the job and of rendering, by code. Silver has codes as they came, with addresses in some: only those that gold shows are told apart."""
    return _answer(asked, "errors", request_id=request_id)


def suppressed(asked: AdHoc) -> pl.DataFrame:
    """How the suppression list grew: ``day``, ``channel``, addresses that are new on it, and all until then."""
    return _answer(asked, "suppressed")


def suppressed_by_reason(asked: AdHoc) -> pl.DataFrame:
    """Addresses of the suppression list by channel and reason; one with two reasons counts for both."""
    return _answer(asked, "suppressed_by_reason")


def feed(asked: AdHoc) -> pl.DataFrame:
    """Rows by hour of receipt and kind of event, of the newest hours; the kinds beyond the most frequent are ``other``."""
    return _answer(asked, "feed", hours=_HOURS, named_types=_NAMED_TYPES)


def lags(asked: AdHoc) -> pl.DataFrame:
    """Between an event and its receipt, in minutes, by hour of receipt: the median kind's median, and the slowest kind's 95th percentile."""
    return _answer(asked, "lags", hours=_HOURS)


def rejected(asked: AdHoc) -> pl.DataFrame:
    """What could not be read, by reason."""
    return _answer(asked, "rejected")
