"""Slack: a sensor that posts new alerts."""

import importlib.util
import json
from typing import Any, Final

import dagster as dg

from mg_lakehouse._util.escaping import for_slack
from mg_lakehouse.dagster.checks.alerts import METADATA, alert_check_keys
from mg_lakehouse.dagster.names import Names
from mg_lakehouse.dagster.resources import FeedResources
from mg_lakehouse.errors import ConfigurationError
from mg_lakehouse.serving.alerts import Alert
from mg_lakehouse.settings import Settings

__all__ = ["build_alert_sensors", "build_slack_resource", "news"]

_POSTED: Final = 15
"""Alerts in one message: with 500 characters each, and five per escaped one, it stays below the 40,000 that Slack accepts."""

# Without these, Slack turns addresses into links, names into mentions, and stars into bold.
_PLAIN: Final[dict[str, Any]] = {"mrkdwn": False, "parse": "none", "link_names": False, "unfurl_links": False, "unfurl_media": False}

Told = dict[str, dict[str, str]]
"""By check, the severity of each subject that was posted."""


def build_alert_sensors(settings: Settings) -> list[dg.SensorDefinition]:
    """Build the sensor ``alerts_to_slack`` if a channel is set."""
    if settings.alert_slack_channel is None:
        return []
    channel, names = settings.alert_slack_channel, Names(settings.feed)
    resources = FeedResources(names)

    @dg.sensor(
        name=names.qualified("alerts_to_slack"),
        minimum_interval_seconds=60,
        default_status=dg.DefaultSensorStatus.RUNNING,
        required_resource_keys=resources.keys("slack"),
        description="Posts each alert to Slack once, and again when it becomes an error.",
    )
    def alerts_to_slack(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        posted: Told = json.loads(context.cursor) if context.cursor else {}
        keys = [*alert_check_keys(names), names.messages_are_ingested, names.nothing_set_aside]
        current = {key.name: alerts for key in keys if (alerts := _newest(context.instance, key)) is not None}
        new = news(posted, current)
        if new:
            client = resources.slack(context).get_client()
            for start in range(0, len(new), _POSTED):
                client.chat_postMessage(channel=channel, text="\n".join(map(_line, new[start : start + _POSTED])), **_PLAIN)
        context.update_cursor(
            json.dumps(posted | {name: {alert.subject: alert.severity for alert in alerts} for name, alerts in current.items()})
        )
        return dg.SkipReason(f"Posted {len(new):,} new alerts." if new else "Nothing new.")

    return [alerts_to_slack]


def build_slack_resource(settings: Settings) -> dict[str, Any]:
    """Build the resource ``slack`` if a channel is set.

    Raises:
        ConfigurationError: a channel is set without a token, or `dagster-slack` is not installed.
    """
    if settings.alert_slack_channel is None:
        return {}
    if settings.alert_slack_token is None:
        raise ConfigurationError("MG_ALERT_SLACK_CHANNEL is set and MG_ALERT_SLACK_TOKEN is not: set it to the token of a Slack bot.")
    if importlib.util.find_spec("dagster_slack") is None:
        raise ConfigurationError("MG_ALERT_SLACK_CHANNEL needs dagster-slack: run `pip install 'mg-lakehouse[slack]'`.")
    from dagster_slack import SlackResource  # noqa: PLC0415  an extra, and it takes a second to import

    return {"slack": SlackResource(token=settings.alert_slack_token.get_secret_value())}


def news(told: Told, found: dict[str, list[Alert]]) -> list[Alert]:
    """Return the alerts that were not posted yet, or are worse than when they were."""
    return [
        alert
        for name, alerts in found.items()
        for alert in alerts
        if told.get(name, {}).get(alert.subject) not in {alert.severity, "error"}
    ]


def _newest(instance: dg.DagsterInstance, key: dg.AssetCheckKey) -> list[Alert] | None:
    """Return the alerts of a check's newest evaluation; ``None`` if there is no evaluation."""
    records = instance.event_log_storage.get_asset_check_execution_history(key, limit=10)
    for record in records:
        if record.evaluation is not None and (value := record.evaluation.metadata.get(METADATA)) is not None:
            alerts: Any = value.value
            return [Alert(**alert) for alert in alerts]
    return None


def _line(alert: Alert) -> str:
    return f"{':red_circle:' if alert.severity == 'error' else ':large_yellow_circle:'} {for_slack(alert.text)}"
