"""What in gold somebody should act on: spikes of a provider, complaints, errors of jobs, jobs far below their siblings.

A rate of few messages says little, so a share is judged by a bound of its 95 % interval (Wilson, Journal of the American Statistical
Association 22, 1927): a threshold is passed when even the favourable end of the interval passes it. Each alert is a sentence with the
number, the threshold and the job, and holds no address.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import sqrt
from typing import Any, Final, Literal, NamedTuple

import duckdb

from mg_lakehouse.gold.contract import BOUNCE_DAYS, DIM_JOBS, JOB_METRICS, MAILBOX_PROVIDER_DAILY
from mg_lakehouse.lake import duck
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.lake.snapshot import scan
from mg_lakehouse.lake.sql import identifier
from mg_lakehouse.serving.queries import query

__all__ = ["ALERTS", "Alert", "AlertKind", "Row", "Severity", "Thresholds", "find_alerts", "share_bounds"]

Severity = Literal["warn", "error"]
Row = dict[str, Any]

_Z: Final = 1.959964
"""Of the standard normal distribution, for 95 % between both bounds."""

_USUAL_DAYS: Final = 28
_SIBLING_DAYS: Final = 90
_FEWEST_SIBLINGS: Final = 3


@dataclass(frozen=True, slots=True)
class Thresholds:
    """When something is worth an alert. Rates are shares of 1.

    Complaints: Google's and Yahoo's rules for bulk senders ask for less than 0.1 % and never 0.3 %. ``days`` is how far back jobs
    and days are checked, ``messages`` the fewest that a rate is judged by, ``times_usual`` the factor over a provider's usual bounce rate.
    The others are the rates that warn, and with ``_error`` those that are an error.
    """

    days: int = 3
    messages: int = 1_000
    bounces: float = 0.02
    bounces_error: float = 0.1
    times_usual: float = 3.0
    complaints: float = 0.001
    complaints_error: float = 0.003
    render_errors: float = 0.01
    render_errors_error: float = 0.05
    below_siblings: float = 0.05
    below_siblings_error: float = 0.2


class Alert(NamedTuple):
    """Something to act on. ``subject`` says what it is about, and stays the same while it lasts; ``text`` is the sentence."""

    severity: Severity
    subject: str
    text: str


@dataclass(frozen=True, slots=True)
class AlertKind:
    """A kind of alert: the gold table that it is about, the others that it reads, and how it is found in rows of its query."""

    name: str
    table: str
    reads: tuple[str, ...]
    description: str
    judge: Callable[[Row, Thresholds], Alert | None]

    @property
    def query(self) -> str:
        """Its query, which may name ``$since``, ``$usual_days``, ``$sibling_days`` and ``$messages``."""
        return query(f"alerts/{self.name}")


def share_bounds(part: int, whole: int) -> tuple[float, float]:
    """Lower and upper bound of the 95 % interval of a share (Wilson score), of ``part`` of ``whole``; 0 and 1 of nothing."""
    if whole <= 0:
        return 0.0, 1.0
    share, square = part / whole, _Z * _Z
    middle = share + square / (2 * whole)
    spread = _Z * sqrt(share * (1 - share) / whole + square / (4 * whole * whole))
    return max((middle - spread) / (1 + square / whole), 0.0), min((middle + spread) / (1 + square / whole), 1.0)


def find_alerts(lake: Lake, kinds: Sequence[AlertKind], *, as_of: datetime, thresholds: Thresholds) -> dict[str, list[Alert]]:
    """Alerts by the name of their kind, the worst first. None of a kind that needs a table which was never built.

    Raises:
        PermanentError: access is refused.
        TransientError: the store did not answer.
    """
    tables = lake.open_all("gold", sorted({name for kind in kinds for name in (kind.table, *kind.reads)}))
    connection = duck.connect(lake)
    try:
        for name, handle in tables.items():
            if handle is not None:
                connection.execute(f"create view {identifier(name)} as from {scan(handle)}")
        ready = [kind for kind in kinds if all(tables[name] is not None for name in (kind.table, *kind.reads))]
        rows = {kind.name: list(_rows(connection, kind.query, as_of, thresholds)) for kind in ready}
    finally:
        connection.close()
    return {kind.name: _judged(kind, rows.get(kind.name, []), thresholds) for kind in kinds}


def _judged(kind: AlertKind, rows: Sequence[Row], thresholds: Thresholds) -> list[Alert]:
    found = [alert for row in rows if (alert := kind.judge(row, thresholds)) is not None]
    return sorted(found, key=lambda alert: (alert.severity != "error", alert.subject))


def _rows(connection: duckdb.DuckDBPyConnection, sql: str, as_of: datetime, thresholds: Thresholds) -> Iterator[Row]:
    since = as_of - timedelta(days=thresholds.days)
    known: Mapping[str, Any] = {"since": since, "usual_days": _USUAL_DAYS, "sibling_days": _SIBLING_DAYS, "messages": thresholds.messages}
    used = {name: value for name, value in known.items() if f"${name}" in sql}
    cursor = connection.execute(sql, used)
    names = [column[0] for column in cursor.description or []]
    return (dict(zip(names, row, strict=True)) for row in cursor.fetchall())


def _severity(*, error: bool) -> Severity:
    return "error" if error else "warn"


def _percent(share: float) -> str:
    return f"{share * 100:.2f} %"


def _share(part: int, whole: int) -> str:
    return f"{_percent(part / whole)} ({part:,} of {whole:,})"


def _spike(row: Row, thresholds: Thresholds) -> Alert | None:
    usual = row["usual_bounced"] / row["usual_attempted"] if row["usual_attempted"] else 0.0
    threshold = max(thresholds.bounces, thresholds.times_usual * usual)
    low, _ = share_bounds(row["bounced"], row["attempted"])
    if low <= threshold:
        return None
    most = f", most of them of job {row['request_id']}" if row["request_id"] else ""
    return Alert(
        _severity(error=low > thresholds.bounces_error),
        f"{row['event_date']} {row['mailbox_provider']} {row['kind']}",
        f"{row['mailbox_provider']} answered {_share(row['bounced'], row['attempted'])} of the e-mail that began on {row['event_date']} with a "
        f"{row['kind']} bounce{most}; the threshold is {_percent(threshold)}, the rate of the {_USUAL_DAYS} days before was {_percent(usual)}.",
    )


def _complaint(row: Row, thresholds: Thresholds) -> Alert | None:
    low, _ = share_bounds(row["complainers"], row["accepted"])
    if low <= thresholds.complaints:
        return None
    error = low > thresholds.complaints_error
    threshold = thresholds.complaints_error if error else thresholds.complaints
    return Alert(
        _severity(error=error),
        row["request_id"],
        f"Job {row['request_id']} was reported as spam by {_share(row['complainers'], row['accepted'])} of those who can report it; "
        f"the threshold is {_percent(threshold)}.",
    )


def _job_error(row: Row, thresholds: Thresholds) -> Alert:  # noqa: ARG001  one error is enough
    nothing = row["targeted"] == 0
    sent = "and has sent nothing" if nothing else f"and has {row['targeted']:,} messages"
    return Alert(
        _severity(error=nothing), row["request_id"], f"Job {row['request_id']} had {row['job_errors']:,} errors {sent}; the threshold is 1."
    )


def _render_error(row: Row, thresholds: Thresholds) -> Alert | None:
    low, _ = share_bounds(row["render_failed"], row["targeted"])
    if low <= thresholds.render_errors:
        return None
    error = low > thresholds.render_errors_error
    threshold = thresholds.render_errors_error if error else thresholds.render_errors
    return Alert(
        _severity(error=error),
        f"{row['request_id']} {row['channel']}",
        f"Job {row['request_id']} could not render {_share(row['render_failed'], row['targeted'])} of its {row['channel']} messages; "
        f"the threshold is {_percent(threshold)}.",
    )


def _below_siblings(row: Row, thresholds: Thresholds) -> Alert | None:
    _, high = share_bounds(row["accepted"], row["attempted"])
    if row["siblings"] < _FEWEST_SIBLINGS or high >= row["usual"] - thresholds.below_siblings:
        return None
    threshold = row["usual"] - thresholds.below_siblings
    return Alert(
        _severity(error=high < row["usual"] - thresholds.below_siblings_error),
        f"{row['request_id']} {row['channel']}",
        f"Job {row['request_id']} delivered {_share(row['accepted'], row['attempted'])} of its {row['channel']} messages; the threshold is "
        f"{_percent(threshold)}, for the {row['siblings']} jobs of the category {row['job_category']!r} before it delivered {_percent(row['usual'])}.",
    )


ALERTS: Final = (
    AlertKind(
        "bounce_spike",
        MAILBOX_PROVIDER_DAILY,
        (BOUNCE_DAYS,),
        "No mailbox provider answers far more of a day's e-mail with hard or block bounces than it used to.",
        _spike,
    ),
    AlertKind("complaints", JOB_METRICS, (DIM_JOBS,), "No job is reported as spam by more than 0.1 %.", _complaint),
    AlertKind("no_job_errors", JOB_METRICS, (DIM_JOBS,), "No job had errors.", _job_error),
    AlertKind("render_errors", JOB_METRICS, (DIM_JOBS,), "No job fails to render a share of its messages.", _render_error),
    AlertKind(
        "delivers_like_its_siblings",
        JOB_METRICS,
        (DIM_JOBS,),
        "No job delivers a far smaller share than the jobs of its category before it.",
        _below_siblings,
    ),
)
"""All kinds of alerts. The names are those of the checks in Dagster, and of the files of their queries."""
