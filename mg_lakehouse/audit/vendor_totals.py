"""``gold/reconciliation``: the lake's numbers of a day or a job beside MessageGears', and the reasons for each difference.

MessageGears reports numbers in three places: the daily files, the account's summary of a day (AccountSummary), and the summary of a bulk job
(BulkJobSummary). Its documentation leaves open what is counted. So each difference is tested against the known reasons, and only an unexplained
one needs a look.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, Literal, NamedTuple
from zoneinfo import ZoneInfo

import polars as pl
import pyarrow as pa
from deltalake import DeltaTable, Transaction

from mg_lakehouse._util.dates import span_of_day
from mg_lakehouse.audit.queue_coverage import Compared, compare_with_queue
from mg_lakehouse.audit.tables import VENDOR_TOTALS
from mg_lakehouse.bronze.tables import BRONZE_TABLES
from mg_lakehouse.errors import PermanentError
from mg_lakehouse.events.catalogue import activity_types, table_of_activity_type
from mg_lakehouse.gold.contract import DIM_JOBS, JOB_METRICS, READ
from mg_lakehouse.lake.commit import Replace, commit_once
from mg_lakehouse.lake.commit_log import app_version
from mg_lakehouse.lake.errors import store_errors
from mg_lakehouse.lake.file_stats import all_files, files_between
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.lake.sql import date_list
from mg_lakehouse.settings import Settings
from mg_lakehouse.silver.progress import unflattened
from mg_lakehouse.sources.summaries import Summary, account_summary, bulk_job_summary
from mg_lakehouse.sources.web_service import WebService

__all__ = ["Reason", "compare_day", "known_reasons", "replace_days"]

Reason = Literal[
    "eastern_day",
    "unique_against_total",
    "thirty_day_horizon",
    "still_arriving",
    "not_flattened_yet",
    "file_not_in_bronze",
    "not_answered",
    "no_event",
]
"""Why two numbers may differ, or why one is missing.

- ``eastern_day``: the numbers are equal by days of -04:00 all year, which MessageGears' summaries mention.
- ``unique_against_total``: its number lies between our distinct messages or recipients and our events.
- ``thirty_day_horizon``: its analytics end thirty days after a job, its feed after twelve months; the events in between explain the difference.
- ``still_arriving``: the day or job ended recently, and bounces and the like arrive for a day.
- ``not_flattened_yet``: bronze holds messages that silver lacks.
- ``file_not_in_bronze``, ``not_answered``: MessageGears has no number.
- ``no_event``: the feed has no such event, so the lake has no number.
"""

_ALL_YEAR: Final = ZoneInfo("Etc/GMT+4")
_SETTLES: Final = timedelta(hours=24)
_HORIZON: Final = timedelta(days=30)

_OF_JOBS: Final[Mapping[str, tuple[str, str | None]]] = {
    "messages": ("targeted", None),
    "clicks": ("click_events", "unique_clickers"),
    "opens": ("open_events", "unique_openers"),
    "bounces": ("bounced", None),
    "unsubscribes": ("unsubscribers", None),
    "deliveries": ("delivered", None),
    "spam_complaints": ("complainers", None),
    "render_errors": ("render_failed", None),
    "job_errors": ("job_errors", None),
    "bulk_job_errors": ("job_errors", None),
}
"""Counters of a job's summary, and the columns of ``gold/job_metrics`` that count the same: all events, and each message once."""


class _Counted(NamedTuple):
    """Our number, and its values by other ways of counting."""

    ours: int | None
    distinct: int | None = None
    eastern: int | None = None
    beyond_horizon: int = 0


def known_reasons(
    ours: int | None, theirs: int | None, *, distinct: int | None, eastern: int | None, beyond_horizon: int, settled: bool, flattened: bool
) -> list[Reason]:
    """Return the reasons that explain why two numbers differ, or why one is missing."""
    if ours is None:
        return ["no_event"]
    if theirs is None:
        return ["not_answered"]
    if ours == theirs:
        return []
    checks: dict[Reason, bool] = {
        "eastern_day": eastern == theirs,
        "unique_against_total": distinct is not None and distinct <= theirs < ours,
        "thirty_day_horizon": 0 < ours - theirs <= beyond_horizon,
        "still_arriving": not settled,
        "not_flattened_yet": not flattened and ours < theirs,
    }
    return [reason for reason, holds in checks.items() if holds]


def compare_day(
    lake: Lake, settings: Settings, day: date, service: WebService | None, *, now: datetime, progress: Callable[[str], None] | None = None
) -> pl.DataFrame:
    """Compute the rows of ``gold/reconciliation`` for one day; without a ``service``, only for the files in bronze.

    A summary that MessageGears refuses becomes a row without its number, and a sentence for ``progress``.

    Raises:
        PermanentError, TransientError: the lake cannot be read, or the service did not answer.
    """
    zone = ZoneInfo(settings.activity_timezone)
    settled = now - span_of_day(day, zone)[1] > _SETTLES
    flattened = not any(unflattened(lake, source) for source in BRONZE_TABLES)
    rows = list(_files(lake, settings, day, settled=settled, flattened=flattened, wanted=service is not None))
    if service is not None:
        summary = _asked(lambda: account_summary(service, day), progress)
        rows += _account(lake, day, zone, summary, settled=settled, flattened=flattened)
        for job in _jobs(lake, settings, day):
            request_id = str(job["request_id"])
            own = _asked(lambda request_id=request_id: bulk_job_summary(service, request_id=request_id), progress)  # type: ignore[misc]
            rows += _job(lake, job, own, flattened=flattened)
    return pl.DataFrame([{"activity_date": day, "compared_at": now, **row} for row in rows], schema=VENDOR_TOTALS.schema)


def replace_days(lake: Lake, days: Collection[date], rows: pl.DataFrame) -> None:
    """Replace the table's rows of some days in one commit.

    Raises:
        PermanentError, TransientError: nothing was committed.
    """

    def decide(handle: DeltaTable) -> Replace[None]:
        lane = app_version(handle, "lane") or 0
        return Replace(
            lambda: _reader(rows),
            f"activity_date IN ({date_list(sorted(days))})",
            new_schema=False,
            transactions=(Transaction("lane", lane + 1),),
            result=None,
        )

    commit_once(f"gold/{VENDOR_TOTALS.name} in the lake {lake.uri}", lambda: lake.ensure(VENDOR_TOTALS), decide)


def _reader(rows: pl.DataFrame) -> pa.RecordBatchReader:
    table: pa.Table = rows.select(VENDOR_TOTALS.schema.names()).to_arrow(compat_level=pl.CompatLevel.oldest())
    return table.to_reader()


def _asked(ask: Callable[[], Summary], progress: Callable[[str], None] | None) -> Summary | None:
    try:
        return ask()
    except PermanentError as error:
        if progress is not None:
            progress(str(error))
        return None


def _files(lake: Lake, settings: Settings, day: date, *, settled: bool, flattened: bool, wanted: bool) -> Iterator[dict[str, Any]]:
    """Yield rows for the daily files in bronze, and with ``wanted`` for those that bronze lacks."""
    present: set[str] = set()
    for compared in compare_with_queue(lake, settings, [day]):
        present.add(compared.activity_type)
        yield _of_file(lake, compared, settled=settled, flattened=flattened)
    for kind in settings.activity_types if wanted else ():
        if kind not in present:
            yield {"compared_with": "activity_file", "metric": kind.lower(), "reasons": ["file_not_in_bronze"]}


def _of_file(lake: Lake, compared: Compared, *, settled: bool, flattened: bool) -> dict[str, Any]:
    ours = None if compared.only_queue is None else compared.in_file + compared.only_queue
    eastern = _eastern(lake, table_of_activity_type(compared.activity_type), compared.day, ours, compared.in_file)
    row = _row(
        "activity_file",
        compared.activity_type.lower(),
        _Counted(ours, None, eastern),
        compared.in_file,
        settled=settled,
        flattened=flattened,
    )
    return {**row, "lost_by_the_queue": compared.only_file}


def _eastern(lake: Lake, table: str, day: date, ours: int | None, theirs: int) -> int | None:
    """Count the events of the day by -04:00 all year, only if the other numbers differ."""
    return None if ours is None or ours == theirs else _events(lake, table, day, _ALL_YEAR)[0]


def _account(lake: Lake, day: date, zone: ZoneInfo, summary: Summary | None, *, settled: bool, flattened: bool) -> Iterator[dict[str, Any]]:
    if summary is None:
        yield {"compared_with": "account_summary", "metric": "all", "reasons": ["not_answered"]}
        return
    for metric, theirs in summary.counts.items():
        counted = _Counted(None)
        if (table := _table_of(metric)) is not None:
            events, distinct = _events(lake, table, day, zone)
            counted = _Counted(events, distinct, _eastern(lake, table, day, events, theirs))
        yield _row("account_summary", metric, counted, theirs, settled=settled, flattened=flattened)


def _table_of(metric: str) -> str | None:
    """Return the silver table of a counter's events, ``None`` if it counts something else."""
    return table_of_activity_type(metric.upper()) if metric.upper() in activity_types() else None


def _events(lake: Lake, table: str, day: date, zone: ZoneInfo) -> tuple[int, int]:
    """Count the events of a day in a silver table, and their distinct messages or recipients."""
    span = span_of_day(day, zone)
    handle = lake.open("silver", table)
    if handle is None or not (files := files_between(handle, "event_at", [span])):
        return 0, 0
    with store_errors(f"silver/{table} in the lake {lake.uri}"):
        rows = lake.scan(files, handle).filter(pl.col("event_at").is_between(*span))
        names = rows.collect_schema().names()
        whose = [pl.col(name) for name in ("request_id", "recipient_id", "email_address", "sms_address", "device_id") if name in names]
        counts = rows.select(events=pl.len(), distinct=pl.struct(whose).n_unique()).collect(engine="streaming")
    return int(counts["events"].item()), int(counts["distinct"].item())


def _jobs(lake: Lake, settings: Settings, day: date) -> list[dict[str, Any]]:
    """Return the day's bulk jobs with the most messages, with their numbers in gold; none if gold was not built."""
    dim, metrics = lake.open("gold", DIM_JOBS), lake.open("gold", JOB_METRICS)
    if dim is None or metrics is None or not settings.reconciled_jobs:
        return []
    zone = settings.activity_timezone
    with store_errors(f"gold/{JOB_METRICS} in the lake {lake.uri}"):
        first = pl.coalesce("first_send_at", "first_event_at")
        jobs = (
            lake.scan(all_files(dim), dim)
            .filter((pl.col("request_type") == "bulk_job") & (first.dt.convert_time_zone(zone).dt.date() == day))
            .select("request_id", began_at=first, is_settled=pl.col("maturity").is_in(["engaging", "final"]))
        )
        numbers = lake.scan(all_files(metrics), metrics).select(READ[JOB_METRICS]).filter(pl.col("channel") == "email")
        largest = jobs.join(numbers, on="request_id").sort("targeted", "request_id", descending=[True, False])
        return largest.head(settings.reconciled_jobs).collect().to_dicts()


def _job(lake: Lake, job: Mapping[str, Any], summary: Summary | None, *, flattened: bool) -> Iterator[dict[str, Any]]:
    same = {"request_id": job["request_id"]}
    if summary is None:
        yield {**same, "compared_with": "bulk_job_summary", "metric": "all", "reasons": ["not_answered"]}
        return
    for metric, theirs in summary.counts.items():
        total, distinct = _OF_JOBS.get(metric, (None, None))
        beyond = _beyond_horizon(lake, job, metric) if distinct and total and int(job[total]) > theirs else 0
        counted = _Counted(int(job[total]) if total else None, int(job[distinct]) if distinct else None, None, beyond)
        yield {**same, **_row("bulk_job_summary", metric, counted, theirs, settled=bool(job["is_settled"]), flattened=flattened)}


def _beyond_horizon(lake: Lake, job: Mapping[str, Any], metric: str) -> int:
    """Count the events of a job later than thirty days after it began."""
    table = _table_of(metric)
    handle = lake.open("silver", table) if table else None
    since = job["began_at"] + _HORIZON
    if handle is None or not (files := files_between(handle, "event_at", [(since, datetime.max.replace(tzinfo=UTC))])):
        return 0
    with store_errors(f"silver/{table} in the lake {lake.uri}"):
        rows = lake.scan(files, handle).filter((pl.col("request_id") == job["request_id"]) & (pl.col("event_at") > since))
        return int(rows.select(pl.len()).collect(engine="streaming").item())


def _row(compared_with: str, metric: str, counted: _Counted, theirs: int, *, settled: bool, flattened: bool) -> dict[str, Any]:
    ours = counted.ours
    reasons = known_reasons(
        ours,
        theirs,
        distinct=counted.distinct,
        eastern=counted.eastern,
        beyond_horizon=counted.beyond_horizon,
        settled=settled,
        flattened=flattened,
    )
    difference = None if ours is None else ours - theirs
    return {
        "compared_with": compared_with,
        "metric": metric,
        "ours": ours,
        "ours_distinct": counted.distinct,
        "theirs": theirs,
        "difference": difference,
        "difference_rate": difference / theirs if difference is not None and theirs else None,
        "reasons": reasons,
        "is_explained": None if difference is None else difference == 0 or bool(reasons),
    }
