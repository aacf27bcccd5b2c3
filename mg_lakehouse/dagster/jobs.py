"""The jobs, which schedules, sensors and the command line start."""

from __future__ import annotations

from typing import Final

import dagster as dg

from mg_lakehouse.audit.tables import VENDOR_TOTALS
from mg_lakehouse.dagster.checks.alerts import alert_check_keys
from mg_lakehouse.dagster.checks.hourly_balance import hours_balance_key
from mg_lakehouse.dagster.checks.standing import STANDING_UNIQUENESS, standing_check_keys
from mg_lakehouse.dagster.names import Names
from mg_lakehouse.dagster.run_heartbeats import BEATS_FROM_THE_START
from mg_lakehouse.events.catalogue import silver_tables
from mg_lakehouse.gold.names import dbt_models
from mg_lakehouse.settings import Settings

__all__ = [
    "ACTIVITY_JOB",
    "ACTIVITY_REPORT_JOB",
    "ALERTS_JOB",
    "FLATTEN_JOB",
    "GOLD_JOB",
    "HOURLY_BALANCE_JOB",
    "INGEST_JOB",
    "STANDING_CHECKS_JOB",
    "build_jobs",
]

INGEST_JOB: Final = "ingest"
GOLD_JOB: Final = "gold"
ACTIVITY_JOB: Final = "account_activity"
ACTIVITY_REPORT_JOB: Final = "account_activity_report"
FLATTEN_JOB: Final = "flatten"
ALERTS_JOB: Final = "alerts"
HOURLY_BALANCE_JOB: Final = "reconciliation"
STANDING_CHECKS_JOB: Final = "standing_checks"

_ONE_PROCESS: Final = dg.in_process_executor
"""A process per op costs 4 s a run, against 0.3 s in one process."""


_DESCRIPTIONS: Final = {
    INGEST_JOB: "Drain the queue into bronze and flatten bronze's new commits into silver.",
    FLATTEN_JOB: "Flatten bronze's new commits into silver, without an ingest.",
    ACTIVITY_JOB: "Fetch daily files of the AccountActivity API into bronze.",
    ACTIVITY_REPORT_JOB: "Compare days with MessageGears' files and summaries: what did the queue lose, and what differs?",
    GOLD_JOB: "Build the dbt models from silver.",
    ALERTS_JOB: "Check gold for problems to act on: bounces, complaints, errors, jobs below their siblings.",
    HOURLY_BALANCE_JOB: "Balance the last hours: queue, bronze, silver, rejected and duplicates.",
    STANDING_CHECKS_JOB: f"Check whole silver tables: {STANDING_UNIQUENESS} and the columns.",
}


def build_jobs(settings: Settings) -> list[dg.UnresolvedAssetJobDefinition]:
    """Build all jobs of a feed. They select assets by key: a group may hold another project's assets too.

    Raises:
        ConfigurationError: there is no dbt project.
    """
    names = Names(settings.feed)
    selections = _selections(names, settings)
    tags = {BEATS_FROM_THE_START: f"{settings.heartbeat_seconds:g}"}
    return [
        dg.define_asset_job(names.qualified(job), selections[job], description=description, executor_def=_ONE_PROCESS, tags=tags)
        for job, description in _DESCRIPTIONS.items()
    ]


def _selections(names: Names, settings: Settings) -> dict[str, dg.AssetSelection]:
    """Selections by job. A check with its own job is left out of its asset's job."""
    assets, checks = dg.AssetSelection.assets, dg.AssetSelection.checks
    standing, balance, alerts = checks(*standing_check_keys(names)), checks(hours_balance_key(names)), checks(*alert_check_keys(names))
    ingested, compared = checks(names.messages_are_ingested), checks(names.queue_lost_nothing)
    silver = assets(*(names.silver(table) for table in silver_tables())) - standing - balance
    return {
        INGEST_JOB: assets(names.event_feed) - ingested | silver,
        FLATTEN_JOB: silver,
        ACTIVITY_JOB: assets(names.account_activity) - compared,
        ACTIVITY_REPORT_JOB: compared | assets(names.gold(VENDOR_TOTALS.name)),
        GOLD_JOB: assets(*(names.gold(model) for model in dbt_models(settings))) - alerts,
        ALERTS_JOB: alerts,
        HOURLY_BALANCE_JOB: balance,
        STANDING_CHECKS_JOB: standing,
    }
