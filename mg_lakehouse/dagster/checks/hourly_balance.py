"""The check ``hours_balance``: in each of the last hours everything received is accounted for. It blocks gold."""

from datetime import UTC, datetime, timedelta
from typing import Final

import dagster as dg

from mg_lakehouse.audit.hourly_balance import Reconciliation, reconcile_sources
from mg_lakehouse.dagster.names import Names
from mg_lakehouse.dagster.reporting import as_failure
from mg_lakehouse.dagster.resources import FeedResources
from mg_lakehouse.events.catalogue import REJECTED_ITEMS

__all__ = ["build_hourly_balance", "reconciliation_key"]

RECONCILED: Final = "hours_balance"

_RECONCILED: Final = timedelta(hours=2)


def reconciliation_key(names: Names) -> dg.AssetCheckKey:
    """Key of the check that balances the hours."""
    return dg.AssetCheckKey(names.silver(REJECTED_ITEMS), RECONCILED)


def build_hourly_balance(names: Names) -> dg.AssetChecksDefinition:
    """The check. It looks two hours back: what is older was balanced then."""
    resources = FeedResources(names)

    @dg.asset_check(
        name=RECONCILED,
        asset=names.silver(REJECTED_ITEMS),
        blocking=True,
        required_resource_keys=resources.keys_of_op("lake"),
        description="In each of the last hours: messages received = rows of bronze, and items = rows of silver + rejected + duplicates + set aside.",
    )
    def reconciliation(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        now = datetime.now(UTC)
        with as_failure():
            found = reconcile_sources(resources.lake(context), now - _RECONCILED, now)
        wrong = [hour for hour in found.hours if not hour.balances]
        return dg.AssetCheckResult(
            passed=found.balances,
            description=None if found.balances else _unbalanced(found),
            metadata={
                "hours": len(found.hours),
                "hours_that_do_not_balance": len(wrong),
                "messages": sum(hour.in_bronze for hour in found.hours),
                "items": sum(hour.items for hour in found.hours),
                "messages_missing": sum(hour.messages_missing for hour in found.hours),
                "items_missing": sum(hour.items_missing for hour in found.hours),
                "changed_batches": len(found.changed_batches),
                "items_uncovered": found.uncovered,
                "messages_overlooked": len(found.overlooked),
                "messages_that_only_silver_has": found.without_message,
                "proved_since": "nothing" if found.proved_since is None else found.proved_since.isoformat(),
            },
        )

    return reconciliation


def _unbalanced(found: Reconciliation) -> str:
    if found.changed_batches:
        return f"The messages of {len(found.changed_batches)} batches are not those that were committed."
    if found.uncovered:
        return f"{found.uncovered} items begin in messages and are in no row and no reject. Run `mg-lakehouse reconcile` for the hours."
    if found.without_message:
        return f"Silver has rows of {found.without_message} messages that bronze has not: `mg-lakehouse repair bronze` says what can be had again."
    hours = ", ".join(hour.hour for hour in found.hours if not hour.balances)
    return f"These hours do not balance: {hours}. Run `mg-lakehouse reconcile` for the numbers."
