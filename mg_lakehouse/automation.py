"""When gold builds itself: after silver changed and every blocking check of silver passed.

Plain ``eager()`` never fires for an unpartitioned asset below daily partitions (each day without data counts as
missing), and it ignores blocking checks of earlier runs; the two changes cure that. Only silver's checks count here: dbt's
own tests block within a build, and waiting for them would split one build into as many runs as the models are deep.
"""

from __future__ import annotations

from typing import Final

import dagster as dg

__all__ = ["GOLD_CONDITION", "build_automation_sensor"]

GOLD_CONDITION: Final = dg.AutomationCondition.eager().without(
    ~dg.AutomationCondition.any_deps_missing()
) & dg.AutomationCondition.all_deps_blocking_checks_passed().allow(dg.AssetSelection.groups("silver"))


def build_automation_sensor() -> dg.AutomationConditionSensorDefinition:
    """The sensor that evaluates gold's condition. Dagster's own is stopped by default; this one runs."""
    return dg.AutomationConditionSensorDefinition(
        "gold_automation",
        target=dg.AssetSelection.groups("gold"),
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=15,
        description="Builds gold when silver changed and its blocking checks passed.",
    )
