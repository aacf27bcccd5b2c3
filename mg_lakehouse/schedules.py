"""Schedules: what runs by the clock, behind what runs by events."""

from __future__ import annotations

import dagster as dg

from mg_lakehouse.assets.maintenance import MAINTENANCE_JOB, todays_small_files
from mg_lakehouse.jobs import GOLD_JOB, RECONCILIATION_JOB, STANDING_CHECKS_JOB

__all__ = ["build_schedules"]


def build_schedules() -> list[dg.ScheduleDefinition]:
    """All schedules of the package."""
    return [
        dg.ScheduleDefinition(
            name="gold_catch_up",
            job_name=GOLD_JOB,
            cron_schedule="23 * * * *",
            default_status=dg.DefaultScheduleStatus.RUNNING,
            description="Builds gold once an hour, whatever the automation missed: a crash between a commit and its event, a job "
            "whose maturity changed by time alone.",
        ),
        dg.ScheduleDefinition(
            name="reconciliation_hourly",
            job_name=RECONCILIATION_JOB,
            cron_schedule="13 * * * *",
            default_status=dg.DefaultScheduleStatus.RUNNING,
            description="Balances the last hours, before gold's catch-up.",
        ),
        dg.ScheduleDefinition(
            name="standing_checks_daily",
            job_name=STANDING_CHECKS_JOB,
            cron_schedule="41 5 * * *",
            default_status=dg.DefaultScheduleStatus.RUNNING,
            description="Checks whole silver tables once a day.",
        ),
        dg.ScheduleDefinition(
            name="compaction_hourly",
            job_name=MAINTENANCE_JOB,
            cron_schedule="37 * * * *",
            run_config=todays_small_files(),
            default_status=dg.DefaultScheduleStatus.RUNNING,
            description="Merges the small files that today's batches leave.",
        ),
        dg.ScheduleDefinition(
            name="maintenance_daily",
            job_name=MAINTENANCE_JOB,
            cron_schedule="47 2 * * *",
            default_status=dg.DefaultScheduleStatus.RUNNING,
            description="Compacts and sorts the day that closed, removes replaced files and orphans, and cleans the logs.",
        ),
    ]
