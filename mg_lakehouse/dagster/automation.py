"""When gold builds itself: after silver changed, while every blocking check of silver stands passed.

The models that read silver alone ask the same about the same assets, and those behind them follow what `fct_messages` was answered in the
same tick, so that a tick requests all models or none. What depends on a model's own dependencies does not do: Dagster looks at assets one
after another, and an ingest that starts or ends in between once had two models of eight requested, which then failed for want of the others.
Where each of 28 models asked, a query for each of twenty tables, the daemon had a quarter of a core to do. Two more things differ from
``eager()``. It never fires below daily partitions, where each day without data counts as missing. And it waits while
a dependency is being made; a busy feed always has an ingest under way, and gold would stand still. For the same reason a
check that failed is remembered until it passes: while an ingest waits to start, its checks count as neither.
"""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import Any, Final

import dagster as dg

from mg_lakehouse.dagster.names import Names
from mg_lakehouse.events.catalogue import silver_tables
from mg_lakehouse.gold.dbt_project import dbt_models
from mg_lakehouse.settings import Settings

__all__ = ["build_automation_sensor", "gold_condition"]

_FIRST_MODEL: Final = "fct_messages"
"""A model that reads silver alone: Dagster has its answer before it looks at what lies behind other models."""

_LAST_MODEL: Final = "restatement_log"
"""The model at the end of the graph: while it is in progress, a build is."""


def gold_condition(names: Names, *, reads_gold: bool) -> dg.AutomationCondition[Any]:
    """The condition of a gold model, by whether it reads other ones."""
    of_asset = dg.AutomationCondition.asset_matches
    if reads_gold:
        return of_asset(names.gold(_FIRST_MODEL), dg.AutomationCondition.will_be_requested()).with_label("gold_is_requested")
    updated = dg.AutomationCondition.newly_updated()
    failing = dg.AutomationCondition.check_failed().since(dg.AutomationCondition.check_passed())
    failed = dg.AutomationCondition.any_checks_match(failing, blocking_only=True)
    tables = [names.silver(table) for table in silver_tables()]
    any_updated = reduce(or_, (of_asset(table, updated) for table in tables))
    any_failed = reduce(or_, (of_asset(table, failed) for table in tables))
    # Of a trigger and a reset in one tick the reset wins: an update that came right after a request would be forgotten.
    handled = (dg.AutomationCondition.newly_requested() & ~any_updated) | dg.AutomationCondition.initial_evaluation()
    return (
        any_updated.since(handled).with_label("silver_changed_since_the_last_request")
        & ~any_failed.with_label("a_blocking_check_of_silver_failed")
        & ~of_asset(names.gold(_LAST_MODEL), dg.AutomationCondition.in_progress()).with_label("gold_is_being_built")
    )


def build_automation_sensor(settings: Settings) -> dg.AutomationConditionSensorDefinition:
    """The sensor that evaluates gold's condition. Dagster's own is stopped by default; this one runs.

    Raises:
        ConfigurationError: there is no dbt project.
    """
    names = Names(settings.feed)
    return dg.AutomationConditionSensorDefinition(
        names.of("gold_automation"),
        target=dg.AssetSelection.assets(*(names.gold(model) for model in dbt_models(settings))),
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=15,
        description="Builds gold when silver changed and its blocking checks passed.",
    )
