"""The automation condition of gold: build after silver changed, while all blocking checks of silver pass.

A tick requests all models or none. Models that read only silver share one condition on the same assets; the others follow the answer for
`message_events` in the same tick. A condition on each model's own dependencies fails: Dagster evaluates assets one after another, and an ingest
that started or ended in between once had two models of eight requested, which then failed because the others were missing. When each of 28
models had the condition, with a query for each of twenty tables, the daemon used a quarter of a core.

``eager()`` does not work here for two more reasons. It never fires below daily partitions, where each day without data counts as missing. And
it waits while a dependency is in progress; a busy feed always has an ingest under way, and gold would never build. For the same reason, a
failed check is remembered until it passes: while an ingest waits to start, its checks count as neither passed nor failed.
"""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import Any, Final

import dagster as dg

from mg_lakehouse.dagster.names import Names
from mg_lakehouse.events.catalogue import silver_tables
from mg_lakehouse.gold.contract import MESSAGE_EVENTS, RESTATEMENT_LOG
from mg_lakehouse.gold.names import dbt_models
from mg_lakehouse.settings import Settings

__all__ = ["build_automation_sensor", "gold_condition"]

_FIRST_MODEL: Final = MESSAGE_EVENTS
"""A model that reads only silver: Dagster evaluates it before the models downstream."""

_LAST_MODEL: Final = RESTATEMENT_LOG
"""The model at the end of the graph: it is in progress as long as a build is."""


def gold_condition(names: Names, *, reads_gold: bool) -> dg.AutomationCondition[Any]:
    """Return the condition of a gold model, depending on whether it reads other gold models."""
    of_asset = dg.AutomationCondition.asset_matches
    if reads_gold:
        return of_asset(names.gold(_FIRST_MODEL), dg.AutomationCondition.will_be_requested()).with_label("gold_is_requested")
    updated = dg.AutomationCondition.newly_updated()
    failing = dg.AutomationCondition.check_failed().since(dg.AutomationCondition.check_passed())
    failed = dg.AutomationCondition.any_checks_match(failing, blocking_only=True)
    tables = [names.silver(table) for table in silver_tables()]
    any_updated = reduce(or_, (of_asset(table, updated) for table in tables))
    any_failed = reduce(or_, (of_asset(table, failed) for table in tables))
    # If a trigger and a reset come in one tick, the reset wins: an update right after a request would be forgotten.
    handled = (dg.AutomationCondition.newly_requested() & ~any_updated) | dg.AutomationCondition.initial_evaluation()
    return (
        any_updated.since(handled).with_label("silver_changed_since_the_last_request")
        & ~any_failed.with_label("a_blocking_check_of_silver_failed")
        & ~of_asset(names.gold(_LAST_MODEL), dg.AutomationCondition.in_progress()).with_label("gold_is_being_built")
    )


def build_automation_sensor(settings: Settings) -> dg.AutomationConditionSensorDefinition:
    """Build the sensor that evaluates gold's condition. Dagster's default sensor is stopped by default; this one runs.

    Raises:
        ConfigurationError: there is no dbt project.
    """
    names = Names(settings.feed)
    return dg.AutomationConditionSensorDefinition(
        names.qualified("gold_automation"),
        target=dg.AssetSelection.assets(*(names.gold(model) for model in dbt_models(settings))),
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=15,
        description="Builds gold when silver changed and its blocking checks passed.",
    )
