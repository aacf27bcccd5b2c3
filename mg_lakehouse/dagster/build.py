"""Wires all Dagster definitions together: assets, checks, jobs, sensors, schedules and resources.

Dagster loads ``defs``. Another project calls :func:`build_definitions` with its own settings and resources. Loading makes no call to AWS
and needs no setting.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dagster as dg

from mg_lakehouse.dagster.assets.account_activity import build_account_activity, files_spec, loaded_files_spec
from mg_lakehouse.dagster.assets.event_feed import build_event_feed, queue_spec
from mg_lakehouse.dagster.assets.gold import build_gold
from mg_lakehouse.dagster.assets.maintenance import build_maintenance
from mg_lakehouse.dagster.assets.silver import build_silver
from mg_lakehouse.dagster.assets.vendor_totals import build_vendor_totals
from mg_lakehouse.dagster.automation import build_automation_sensor
from mg_lakehouse.dagster.checks.alerts import build_alert_checks
from mg_lakehouse.dagster.checks.hourly_balance import build_hourly_balance
from mg_lakehouse.dagster.checks.ingestion import build_stall_check
from mg_lakehouse.dagster.checks.queue_coverage import build_comparison
from mg_lakehouse.dagster.checks.standing import build_standing_checks
from mg_lakehouse.dagster.jobs import build_jobs
from mg_lakehouse.dagster.liveness_sensor import build_liveness_sensor
from mg_lakehouse.dagster.names import Names
from mg_lakehouse.dagster.resources import EventFeedResource, HeartbeatResource, LakeResource, ProgressResource, WebServiceResource
from mg_lakehouse.dagster.schedules import build_schedules
from mg_lakehouse.dagster.sensors import build_daily_files_sensor, build_event_feed_sensor
from mg_lakehouse.dagster.slack import build_alert_sensors, build_slack_resource
from mg_lakehouse.serving.alerts import Thresholds
from mg_lakehouse.settings import Settings, load_settings

__all__ = ["build_definitions", "defs"]


def build_definitions(
    settings: Settings | None = None, *, resources: Mapping[str, Any] | None = None, thresholds: Thresholds | None = None
) -> dg.Definitions:
    """Build all definitions of a feed.

    A project may hold several feeds: give each a name (``settings.feed``), a queue and a lake, and merge the definitions.

    Args:
        settings: read from the environment and ``.env`` by default.
        resources: replacements, by name: ``lake``, ``event_feed``, ``web_service``, ``progress``, ``heartbeat``, ``slack``. A named feed
            uses the same names, without its prefix.
        thresholds: when mail is worth an alert.

    Raises:
        ConfigurationError: a setting is invalid, or there is no dbt project.
        PermanentError: the dbt project does not compile.
    """
    settings = settings or load_settings()
    names = Names(settings.feed)
    return dg.Definitions(
        assets=[
            queue_spec(settings),
            files_spec(settings),
            loaded_files_spec(settings),
            build_event_feed(settings),
            build_account_activity(settings),
            build_silver(settings),
            build_gold(settings),
            build_vendor_totals(settings),
        ],
        asset_checks=[
            build_standing_checks(names),
            build_hourly_balance(names),
            build_comparison(settings),
            build_stall_check(settings),
            build_alert_checks(names, thresholds or Thresholds()),
        ],
        jobs=[*build_jobs(settings), build_maintenance(settings)],
        sensors=[
            build_event_feed_sensor(settings),
            build_daily_files_sensor(names),
            build_automation_sensor(settings),
            build_liveness_sensor(settings),
            *build_alert_sensors(settings),
        ],
        schedules=build_schedules(settings),
        resources={names.qualified(name): resource for name, resource in (_resources(settings) | dict(resources or {})).items()},
    )


def _resources(settings: Settings) -> dict[str, Any]:
    return {
        "lake": LakeResource(uri=settings.lake_uri, umask=settings.lake_umask),
        "event_feed": EventFeedResource(queue_url=settings.queue_url),
        "web_service": WebServiceResource(url=settings.api_url),
        "progress": ProgressResource(),
        "heartbeat": HeartbeatResource(every=settings.heartbeat_seconds),
        **build_slack_resource(settings),
    }


@dg.definitions
def defs() -> dg.Definitions:
    """The definitions for the settings in the environment, as a code location.

    Runs that automation, a click or a backfill starts use one process, as our jobs do. Dagster's default executor starts a process per op,
    and each imports everything again (8 s of a gold build of 80 beside a browser, on two cores).
    """
    return dg.Definitions.merge(build_definitions(), dg.Definitions(executor=dg.in_process_executor))
