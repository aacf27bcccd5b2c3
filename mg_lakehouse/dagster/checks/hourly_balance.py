"""The check ``hours_balance``: everything received in each of the last hours is accounted for. It blocks gold."""

from datetime import UTC, datetime, timedelta
from typing import Final

import dagster as dg

from mg_lakehouse.audit.hourly_balance import HourlyBalance, balance_hours_of_sources
from mg_lakehouse.dagster.names import Names
from mg_lakehouse.dagster.reporting import as_failure
from mg_lakehouse.dagster.resources import FeedResources
from mg_lakehouse.events.catalogue import REJECTED_ITEMS

__all__ = ["build_hourly_balance", "hours_balance_key"]

HOURS_BALANCE: Final = "hours_balance"

_RECONCILED: Final = timedelta(hours=2)


def hours_balance_key(names: Names) -> dg.AssetCheckKey:
    """Return the key of the check ``hours_balance``."""
    return dg.AssetCheckKey(names.silver(REJECTED_ITEMS), HOURS_BALANCE)


def build_hourly_balance(names: Names) -> dg.AssetChecksDefinition:
    """Build the check. It covers the last two hours: earlier runs covered what is older."""
    resources = FeedResources(names)

    @dg.asset_check(
        name=HOURS_BALANCE,
        asset=names.silver(REJECTED_ITEMS),
        blocking=True,
        required_resource_keys=resources.keys_of_op("lake"),
        description="In each of the last hours: messages received = rows of bronze, and items = rows of silver + rejected + duplicates + set aside.",
    )
    def hours_balance(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        now = datetime.now(UTC)
        with as_failure():
            balance = balance_hours_of_sources(resources.lake(context), now - _RECONCILED, now)
        wrong = [hour for hour in balance.hours if not hour.balances]
        return dg.AssetCheckResult(
            passed=balance.balances,
            description=None if balance.balances else _unbalanced(balance),
            metadata={
                "hours": len(balance.hours),
                "hours_that_do_not_balance": len(wrong),
                "messages": sum(hour.in_bronze for hour in balance.hours),
                "items": sum(hour.items for hour in balance.hours),
                "messages_missing": sum(hour.messages_missing for hour in balance.hours),
                "items_missing": sum(hour.items_missing for hour in balance.hours),
                "changed_batches": len(balance.changed_batches),
                "items_uncovered": balance.uncovered,
                "messages_overlooked": len(balance.overlooked),
                "messages_that_only_silver_has": balance.without_message,
                "proved_since": "nothing" if balance.proved_since is None else balance.proved_since.isoformat(),
            },
        )

    return hours_balance


def _unbalanced(balance: HourlyBalance) -> str:
    if balance.changed_batches:
        return f"The messages of {len(balance.changed_batches)} batches are not those that were committed."
    if balance.uncovered:
        return f"{balance.uncovered} items begin in messages and are in no row and no reject. Run `mg-lakehouse reconcile` for the hours."
    if balance.without_message:
        return f"Silver has rows of {balance.without_message} messages that bronze lacks: `mg-lakehouse repair bronze` says what can be recovered."
    hours = ", ".join(hour.hour for hour in balance.hours if not hour.balances)
    return f"These hours do not balance: {hours}. Run `mg-lakehouse reconcile` for the numbers."
