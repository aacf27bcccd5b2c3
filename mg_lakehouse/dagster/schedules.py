"""The schedules: what runs by the clock, besides what events start.

Schedules of daily files are stopped where there are no credentials; one that somebody starts anyway names the missing setting.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

import dagster as dg

from mg_lakehouse.audit.tables import VENDOR_TOTALS
from mg_lakehouse.dagster.assets.maintenance import MAINTENANCE_JOB, todays_small_files
from mg_lakehouse.dagster.assets.vendor_totals import DaysConfig
from mg_lakehouse.dagster.jobs import ACTIVITY_JOB, ACTIVITY_REPORT_JOB, ALERTS_JOB, GOLD_JOB, HOURLY_BALANCE_JOB, STANDING_CHECKS_JOB
from mg_lakehouse.dagster.names import Names
from mg_lakehouse.dagster.partitions import activity_range
from mg_lakehouse.settings import Settings
from mg_lakehouse.sources.web_service import missing_credentials

__all__ = ["build_schedules"]

_COMPACTION: Final = "compaction_hourly"


class _Schedule(NamedTuple):
    """When a job runs: in UTC, or for daily files in ``MG_ACTIVITY_TIMEZONE``, over the last ``days`` days."""

    name: str
    job: str
    cron: str
    description: str
    days: int = 0


_SCHEDULES: Final = (
    _Schedule("reconciliation_hourly", HOURLY_BALANCE_JOB, "13 * * * *", "Balances the last hours, before gold's catch-up."),
    _Schedule(
        "gold_catch_up",
        GOLD_JOB,
        "23 * * * *",
        "Builds gold once an hour, whatever the automation missed: a crash between a commit and its event, a job whose maturity changed by time alone.",
    ),
    _Schedule("alerts_hourly", ALERTS_JOB, "33 * * * *", "Checks gold for alerts, after gold's catch-up."),
    _Schedule(_COMPACTION, MAINTENANCE_JOB, "37 * * * *", "Merges the small files of today's batches."),
    _Schedule(
        "maintenance_daily",
        MAINTENANCE_JOB,
        "47 2 * * *",
        "Compacts and sorts closed days, removes replaced files and orphans, and cleans the logs.",
    ),
    _Schedule("standing_checks_daily", STANDING_CHECKS_JOB, "41 5 * * *", "Checks whole silver tables once a day."),
)

_DAILY_FILES: Final = (
    # MessageGears says that a day's files are ready after 8 o'clock on the next day. No change of the clock skips or repeats one of these
    # times.
    _Schedule("activity_daily", ACTIVITY_JOB, "47 8 * * *", "Fetches yesterday's files.", days=1),
    _Schedule("activity_weekly", ACTIVITY_JOB, "17 9 * * 0", "Fetches those of the last 8 days' files that are missing.", days=8),
    # The report on the fetched files follows an hour and a half later.
    _Schedule("activity_report_daily", ACTIVITY_REPORT_JOB, "17 10 * * *", "Compares yesterday's files with the queue.", days=1),
    _Schedule(
        "activity_report_weekly",
        ACTIVITY_REPORT_JOB,
        "47 10 * * 0",
        "Compares the last 8 days' files with the queue, which brings some events late.",
        days=8,
    ),
)


def build_schedules(settings: Settings) -> list[dg.ScheduleDefinition]:
    """Build all schedules of a feed. They run unless somebody stops them or credentials are missing."""
    names = Names(settings.feed)
    by_clock = [
        dg.ScheduleDefinition(
            name=names.qualified(schedule.name),
            job_name=names.qualified(schedule.job),
            cron_schedule=schedule.cron,
            run_config=todays_small_files(names) if schedule.name == _COMPACTION else None,
            default_status=dg.DefaultScheduleStatus.RUNNING,
            description=schedule.description,
        )
        for schedule in _SCHEDULES
    ]
    return [*by_clock, *(_of_daily_files(settings, schedule) for schedule in _DAILY_FILES)]


def _of_daily_files(settings: Settings, schedule: _Schedule) -> dg.ScheduleDefinition:
    names, missing = Names(settings.feed), missing_credentials(settings)
    zone = ZoneInfo(settings.activity_timezone)

    @dg.schedule(
        name=names.qualified(schedule.name),
        job_name=names.qualified(schedule.job),
        cron_schedule=schedule.cron,
        execution_timezone=settings.activity_timezone,
        default_status=dg.DefaultScheduleStatus.STOPPED if missing else dg.DefaultScheduleStatus.RUNNING,
        description=f"{schedule.description} Stopped until MG_ACCOUNT_ID and MG_API_KEY are set.",
    )
    def scheduled(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        if missing:
            return dg.SkipReason(f"Daily files need MessageGears' credentials: set {' and '.join(missing)}.")
        days = _last_days(context.scheduled_execution_time.astimezone(zone), schedule.days)
        days = [day for day in days if day >= settings.activity_start_date]
        if not days:
            return dg.SkipReason(f"No files to fetch before MG_ACTIVITY_START_DATE, {settings.activity_start_date}.")
        if schedule.job == ACTIVITY_JOB:
            return dg.RunRequest(tags=activity_range(settings, days[0], days[-1]))
        return dg.RunRequest(run_config=_report_config(names, days))

    return scheduled


def _report_config(names: Names, days: Sequence[date]) -> dg.RunConfig:
    config = DaysConfig(first_day=days[0].isoformat(), last_day=days[-1].isoformat())
    check, table = names.queue_lost_nothing, names.gold(VENDOR_TOTALS.name)
    return dg.RunConfig(ops={f"{check.asset_key.to_python_identifier()}_{check.name}": config, table.to_python_identifier(): config})


def _last_days(now: datetime, count: int) -> list[date]:
    """Return the last ``count`` days that have ended, in the time zone of ``now``."""
    return [now.date() - timedelta(days=back) for back in range(count, 0, -1)]
