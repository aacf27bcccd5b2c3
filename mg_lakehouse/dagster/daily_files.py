"""When daily files are fetched, and what they say of the queue: two schedules and a report behind each.

Without credentials the schedules are stopped, and one that somebody starts says which setting is missing.
"""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import dagster as dg

from mg_lakehouse.audit.tables import RECONCILIATION
from mg_lakehouse.dagster.assets.vendor_totals import DaysConfig
from mg_lakehouse.dagster.jobs import ACTIVITY_JOB, ACTIVITY_REPORT_JOB
from mg_lakehouse.dagster.names import Names
from mg_lakehouse.dagster.partitions import activity_range
from mg_lakehouse.settings import Settings
from mg_lakehouse.sources.web_service import missing_credentials

__all__ = ["build_daily_file_schedules"]

_SWEPT_DAYS: Final = 8


def build_daily_file_schedules(settings: Settings) -> list[dg.ScheduleDefinition]:
    """``activity_daily`` and ``activity_weekly``, and an hour and a half later the report on what they fetched.

    MessageGears says that a day's files are there after 8 o'clock of the next. The times are those of ``MG_ACTIVITY_TIMEZONE``, and
    none of them is an hour that a change of the clock leaves out or has twice.
    """
    sweep = f"the last {_SWEPT_DAYS} days' files"
    late = "with the queue, which brings some events late"
    return [
        _schedule(settings, "activity_daily", "Fetches yesterday's files.", job=ACTIVITY_JOB, cron="47 8 * * *", days=1),
        _schedule(
            settings, "activity_weekly", f"Fetches what is missing of {sweep}.", job=ACTIVITY_JOB, cron="17 9 * * 0", days=_SWEPT_DAYS
        ),
        _schedule(
            settings,
            "activity_report_daily",
            "Compares yesterday's files with the queue.",
            job=ACTIVITY_REPORT_JOB,
            cron="17 10 * * *",
            days=1,
        ),
        _schedule(
            settings,
            "activity_report_weekly",
            f"Compares {sweep} {late}.",
            job=ACTIVITY_REPORT_JOB,
            cron="47 10 * * 0",
            days=_SWEPT_DAYS,
        ),
    ]


def _schedule(settings: Settings, name: str, description: str, *, job: str, cron: str, days: int) -> dg.ScheduleDefinition:
    names, missing = Names(settings.feed), missing_credentials(settings)
    status = dg.DefaultScheduleStatus.STOPPED if missing else dg.DefaultScheduleStatus.RUNNING

    @dg.schedule(
        name=names.of(name),
        job_name=names.of(job),
        cron_schedule=cron,
        execution_timezone=settings.activity_timezone,
        default_status=status,
        description=f"{description} Stopped until MG_ACCOUNT_ID and MG_API_KEY are set.",
    )
    def scheduled(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        if missing:
            return dg.SkipReason(f"Daily files need MessageGears' credentials: set {' and '.join(missing)}.")
        wanted = _days(context.scheduled_execution_time.astimezone(ZoneInfo(settings.activity_timezone)), days)
        wanted = [day for day in wanted if day >= settings.activity_start_date]
        if not wanted:
            return dg.SkipReason(f"The first day to fetch files of, MG_ACTIVITY_START_DATE, is {settings.activity_start_date}.")
        return _request(settings, wanted, report=job != ACTIVITY_JOB)

    return scheduled


def _request(settings: Settings, days: Sequence[date], *, report: bool) -> dg.RunRequest:
    if not report:
        return dg.RunRequest(tags=activity_range(settings, days[0], days[-1]))
    config = DaysConfig(first_day=days[0].isoformat(), last_day=days[-1].isoformat())
    names = Names(settings.feed)
    check, table = names.queue_lost_nothing, names.gold(RECONCILIATION.name)
    ops = {f"{check.asset_key.to_python_identifier()}_{check.name}": config, table.to_python_identifier(): config}
    return dg.RunRequest(run_config=dg.RunConfig(ops=dict(ops)))


def _days(now: datetime, count: int) -> list[date]:
    """The last days that have ended by the clock of ``now``."""
    return [now.date() - timedelta(days=back) for back in range(count, 0, -1)]
