"""Schedules: what runs by the clock, behind what runs by events."""

from __future__ import annotations

import dagster as dg

from mg_lakehouse.dagster.assets.maintenance import MAINTENANCE_JOB, todays_small_files
from mg_lakehouse.dagster.daily_files import build_daily_file_schedules
from mg_lakehouse.dagster.jobs import ALERTS_JOB, GOLD_JOB, RECONCILIATION_JOB, STANDING_CHECKS_JOB
from mg_lakehouse.dagster.names import Names
from mg_lakehouse.settings import Settings

__all__ = ["build_schedules"]


def build_schedules(settings: Settings) -> list[dg.ScheduleDefinition]:
    """All schedules of a feed."""
    names = Names(settings.feed)
    return [
        _schedule(
            names,
            "gold_catch_up",
            job_name=GOLD_JOB,
            cron_schedule="23 * * * *",
            description="Builds gold once an hour, whatever the automation missed: a crash between a commit and its event, a job "
            "whose maturity changed by time alone.",
        ),
        _schedule(
            names,
            "alerts_hourly",
            job_name=ALERTS_JOB,
            cron_schedule="33 * * * *",
            description="Looks for alerts, behind gold's catch-up.",
        ),
        _schedule(
            names,
            "reconciliation_hourly",
            job_name=RECONCILIATION_JOB,
            cron_schedule="13 * * * *",
            description="Balances the last hours, before gold's catch-up.",
        ),
        _schedule(
            names,
            "standing_checks_daily",
            job_name=STANDING_CHECKS_JOB,
            cron_schedule="41 5 * * *",
            description="Checks whole silver tables once a day.",
        ),
        _schedule(
            names,
            "compaction_hourly",
            job_name=MAINTENANCE_JOB,
            cron_schedule="37 * * * *",
            run_config=todays_small_files(names),
            description="Merges the small files that today's batches leave.",
        ),
        _schedule(
            names,
            "maintenance_daily",
            job_name=MAINTENANCE_JOB,
            cron_schedule="47 2 * * *",
            description="Compacts and sorts the day that closed, removes replaced files and orphans, and cleans the logs.",
        ),
        *build_daily_file_schedules(settings),
    ]


def _schedule(
    names: Names, name: str, *, job_name: str, cron_schedule: str, description: str, run_config: dg.RunConfig | None = None
) -> dg.ScheduleDefinition:
    """A schedule that runs unless somebody stops it."""
    return dg.ScheduleDefinition(
        name=names.of(name),
        job_name=names.of(job_name),
        cron_schedule=cron_schedule,
        run_config=run_config,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=description,
    )
