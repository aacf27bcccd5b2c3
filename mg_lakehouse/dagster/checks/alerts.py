"""The checks for gold's alerts: one per kind, evaluated once an hour or by a click.

They block nothing: they are about mail, not about the lake. :mod:`mg_lakehouse.serving.alerts` decides what is worth an alert.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

import dagster as dg

from mg_lakehouse._util.escaping import for_markdown
from mg_lakehouse.dagster.names import Names
from mg_lakehouse.dagster.reporting import as_failure
from mg_lakehouse.dagster.resources import FeedResources
from mg_lakehouse.serving.alerts import ALERTS, Alert, AlertKind, Thresholds, find_alerts

__all__ = ["METADATA", "alert_check_keys", "build_alert_checks", "check_result"]

METADATA: Final = "alerts"

_SHOWN: Final = 5
"""Alerts in the check's description; all of them are in its metadata."""


def alert_check_keys(names: Names) -> list[dg.AssetCheckKey]:
    """Return the keys of the checks."""
    return [alert_check_key(names, kind) for kind in ALERTS]


def build_alert_checks(names: Names, thresholds: Thresholds) -> dg.AssetChecksDefinition:
    """Build the checks, in one op; a subset can be executed alone."""
    resources = FeedResources(names)
    specs = [dg.AssetCheckSpec(kind.name, asset=names.gold(kind.table), description=kind.description) for kind in ALERTS]

    @dg.multi_asset_check(
        name=names.qualified("gold_alerts"), specs=specs, can_subset=True, required_resource_keys=resources.keys_of_op("lake")
    )
    def gold_alerts(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        kinds = [kind for kind in ALERTS if alert_check_key(names, kind) in context.selected_asset_check_keys]
        with as_failure():
            alerts = find_alerts(resources.lake(context), kinds, as_of=datetime.now(UTC), thresholds=thresholds)
        yield from (check_result(names, kind, alerts[kind.name]) for kind in kinds)

    return gold_alerts


def check_result(names: Names, kind: AlertKind, alerts: Sequence[Alert]) -> dg.AssetCheckResult:
    """Return the check's result: passed without alerts, an error if any alert is one, else a warning."""
    more = f" And {len(alerts) - _SHOWN:,} more: see the metadata." if len(alerts) > _SHOWN else ""
    return dg.AssetCheckResult(
        asset_key=names.gold(kind.table),
        check_name=kind.name,
        passed=not alerts,
        severity=dg.AssetCheckSeverity.ERROR if any(alert.severity == "error" for alert in alerts) else dg.AssetCheckSeverity.WARN,
        description=" ".join(for_markdown(alert.text, begins_line=False) for alert in alerts[:_SHOWN]) + more if alerts else None,
        metadata={"count": len(alerts), METADATA: dg.MetadataValue.json([alert._asdict() for alert in alerts])},
    )


def alert_check_key(names: Names, kind: AlertKind) -> dg.AssetCheckKey:
    return dg.AssetCheckKey(names.gold(kind.table), kind.name)
