"""Jobs: what a schedule, the sensor or the command line starts."""

from __future__ import annotations

from typing import Final

import dagster as dg

from mg_lakehouse.audit.tables import RECONCILIATION
from mg_lakehouse.dagster.checks.alerts import alert_check_keys
from mg_lakehouse.dagster.checks.hourly_balance import reconciliation_key
from mg_lakehouse.dagster.checks.standing import STANDING_UNIQUENESS, standing_check_keys
from mg_lakehouse.dagster.names import Names
from mg_lakehouse.dagster.run_heartbeats import BEATS_FROM_THE_START
from mg_lakehouse.events.catalogue import silver_tables
from mg_lakehouse.gold.dbt_project import dbt_models
from mg_lakehouse.settings import Settings

__all__ = [
    "ACTIVITY_JOB",
    "ACTIVITY_REPORT_JOB",
    "ALERTS_JOB",
    "FLATTEN_JOB",
    "GOLD_JOB",
    "INGEST_JOB",
    "RECONCILIATION_JOB",
    "STANDING_CHECKS_JOB",
    "build_jobs",
]

INGEST_JOB: Final = "ingest"
GOLD_JOB: Final = "gold"
ACTIVITY_JOB: Final = "account_activity"
ACTIVITY_REPORT_JOB: Final = "account_activity_report"
FLATTEN_JOB: Final = "flatten"
ALERTS_JOB: Final = "alerts"
RECONCILIATION_JOB: Final = "reconciliation"
STANDING_CHECKS_JOB: Final = "standing_checks"

_ONE_PROCESS: Final = dg.in_process_executor
"""A process for each op costs 4 s a run, against 0.3 s in one."""


def build_jobs(settings: Settings) -> list[dg.UnresolvedAssetJobDefinition]:
    """All jobs of a feed. What they run is chosen by key: a group may hold somebody else's assets too.

    Raises:
        ConfigurationError: there is no dbt project.
    """
    names, tags = Names(settings.feed), {BEATS_FROM_THE_START: f"{settings.heartbeat_seconds:g}"}
    standing = dg.AssetSelection.checks(*standing_check_keys(names))
    balance = dg.AssetSelection.checks(reconciliation_key(names))
    alerts = dg.AssetSelection.checks(*alert_check_keys(names))
    ingested = dg.AssetSelection.checks(names.messages_are_ingested)
    compared = dg.AssetSelection.checks(names.queue_lost_nothing)
    silver = dg.AssetSelection.assets(*(names.silver(table) for table in silver_tables())) - standing - balance
    models = [names.gold(model) for model in dbt_models(settings)]
    return [
        dg.define_asset_job(
            names.of(INGEST_JOB),
            dg.AssetSelection.assets(names.event_feed) - ingested | silver,
            description="Drain the queue into bronze and flatten what bronze committed into silver.",
            executor_def=_ONE_PROCESS,
            tags=tags,
        ),
        dg.define_asset_job(
            names.of(FLATTEN_JOB),
            silver,
            description="Flatten what bronze committed into silver, where no ingest does.",
            executor_def=_ONE_PROCESS,
            tags=tags,
        ),
        dg.define_asset_job(
            names.of(ACTIVITY_JOB),
            dg.AssetSelection.assets(names.account_activity) - compared,
            description="Fetch daily files of the AccountActivity API into bronze.",
            executor_def=_ONE_PROCESS,
            tags=tags,
        ),
        dg.define_asset_job(
            names.of(ACTIVITY_REPORT_JOB),
            compared | dg.AssetSelection.assets(names.gold(RECONCILIATION.name)),
            description="Compare days with MessageGears' files and summaries: what did the queue lose, and what differs?",
            executor_def=_ONE_PROCESS,
            tags=tags,
        ),
        dg.define_asset_job(
            names.of(GOLD_JOB),
            dg.AssetSelection.assets(*models) - alerts,
            description="Build the dbt models over what silver has.",
            executor_def=_ONE_PROCESS,
            tags=tags,
        ),
        dg.define_asset_job(
            names.of(ALERTS_JOB),
            alerts,
            description="Look in gold for what somebody should act on: bounces, complaints, errors, jobs below their siblings.",
            executor_def=_ONE_PROCESS,
            tags=tags,
        ),
        dg.define_asset_job(
            names.of(RECONCILIATION_JOB),
            balance,
            description="Balance the last hours: queue, bronze, silver, rejected and duplicates.",
            executor_def=_ONE_PROCESS,
            tags=tags,
        ),
        dg.define_asset_job(
            names.of(STANDING_CHECKS_JOB),
            standing,
            description=f"Check whole silver tables: {STANDING_UNIQUENESS} and the columns.",
            executor_def=_ONE_PROCESS,
            tags=tags,
        ),
    ]
