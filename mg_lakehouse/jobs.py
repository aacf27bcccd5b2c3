"""Jobs: what a schedule, the sensor or the command line starts."""

from __future__ import annotations

from typing import Final

import dagster as dg

from mg_lakehouse.alerting import alert_check_keys
from mg_lakehouse.assets.reconciliation import RECONCILIATION_KEY
from mg_lakehouse.checks import STANDING_UNIQUENESS, reconciliation_key, standing_check_keys
from mg_lakehouse.keys import ACCOUNT_ACTIVITY_KEY, EVENT_FEED_KEY, QUEUE_LOST_NOTHING

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


def build_jobs() -> list[dg.UnresolvedAssetJobDefinition]:
    """All jobs of the package."""
    standing = dg.AssetSelection.checks(*standing_check_keys())
    reconciliation = dg.AssetSelection.checks(reconciliation_key())
    alerts = dg.AssetSelection.checks(*alert_check_keys())
    compared = dg.AssetSelection.checks(QUEUE_LOST_NOTHING)
    silver = dg.AssetSelection.groups("silver") - standing - reconciliation
    return [
        dg.define_asset_job(
            INGEST_JOB,
            dg.AssetSelection.assets(EVENT_FEED_KEY) | silver,
            description="Drain the queue into bronze and flatten what bronze committed into silver.",
            executor_def=_ONE_PROCESS,
        ),
        dg.define_asset_job(
            FLATTEN_JOB,
            silver,
            description="Flatten what bronze committed into silver, where no ingest does.",
            executor_def=_ONE_PROCESS,
        ),
        dg.define_asset_job(
            ACTIVITY_JOB,
            dg.AssetSelection.assets(ACCOUNT_ACTIVITY_KEY) - compared,
            description="Fetch daily files of the AccountActivity API into bronze.",
            executor_def=_ONE_PROCESS,
        ),
        dg.define_asset_job(
            ACTIVITY_REPORT_JOB,
            compared | dg.AssetSelection.assets(RECONCILIATION_KEY),
            description="Compare days with MessageGears' files and summaries: what did the queue lose, and what differs?",
            executor_def=_ONE_PROCESS,
        ),
        dg.define_asset_job(
            GOLD_JOB,
            dg.AssetSelection.groups("gold") - dg.AssetSelection.assets(RECONCILIATION_KEY) - alerts,
            description="Build the dbt models over what silver has.",
            executor_def=_ONE_PROCESS,
        ),
        dg.define_asset_job(
            ALERTS_JOB,
            alerts,
            description="Look in gold for what somebody should act on: bounces, complaints, errors, jobs below their siblings.",
            executor_def=_ONE_PROCESS,
        ),
        dg.define_asset_job(
            RECONCILIATION_JOB,
            reconciliation,
            description="Balance the last hours: queue, bronze, silver, rejected and duplicates.",
            executor_def=_ONE_PROCESS,
        ),
        dg.define_asset_job(
            STANDING_CHECKS_JOB,
            standing,
            description=f"Check whole silver tables: {STANDING_UNIQUENESS} and the columns.",
            executor_def=_ONE_PROCESS,
        ),
    ]
