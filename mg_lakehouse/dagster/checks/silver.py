"""Checks that the silver op makes of what it has just committed, and whether one of them stands failed.

Blocking: conservation (every item of the batch is a row, a reject or a counted duplicate) and uniqueness (no activity id
twice). Warning: activities nobody knows, rejects.
"""

from collections.abc import Collection, Iterator, Mapping
from functools import reduce
from typing import Any, Final

import dagster as dg

from mg_lakehouse.audit.conservation import RECHECKED_VERSIONS, Conservation, conservation
from mg_lakehouse.audit.uniqueness import repeated_ids, repeated_new_ids
from mg_lakehouse.dagster.checks.hourly_balance import reconciliation_key
from mg_lakehouse.dagster.internals import AssetCheckExecutionRecordStatus
from mg_lakehouse.dagster.names import Names
from mg_lakehouse.events.catalogue import REJECTED_ITEMS, UNRECOGNIZED
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.serving.alerts import Alert
from mg_lakehouse.silver.report import SilverReport, merged
from mg_lakehouse.silver.set_aside import SetAside, count_set_aside, said_of
from mg_lakehouse.silver.tables import EVENT_TABLES

__all__ = ["CONSERVATION", "UNIQUENESS", "failed_blocking_check", "silver_check_results", "silver_check_specs"]

CONSERVATION: Final = "conservation"

UNIQUENESS: Final = "unique_activity_id"

_DRIFT: Final = "no_unknown_activities"

_NOTHING: Final = Conservation(messages=0, items=0, rows=0, duplicates=0, rejected=0, miscounted=())

_REJECTS: Final = "nothing_rejected"


def silver_check_specs(names: Names) -> list[dg.AssetCheckSpec]:
    """Checks that the silver op makes of what it has just committed."""
    rejected = names.silver(REJECTED_ITEMS)
    return [
        *(
            dg.AssetCheckSpec(
                UNIQUENESS, asset=names.silver(table), blocking=True, description="No activity id of the new rows occurs twice."
            )
            for table in EVENT_TABLES
        ),
        dg.AssetCheckSpec(
            CONSERVATION,
            asset=rejected,
            blocking=True,
            description="Items of the batch = rows in all event tables + rejected items + counted duplicates + items set aside, as Delta counted them.",
        ),
        dg.AssetCheckSpec(
            names.nothing_set_aside.name,
            asset=rejected,
            description="No message is set aside because flattening it failed. Evaluated of all that ever were, until they are flattened.",
        ),
        dg.AssetCheckSpec(_REJECTS, asset=rejected, description="The batch had no item that could not become a row."),
        dg.AssetCheckSpec(
            _DRIFT, asset=names.silver(UNRECOGNIZED), description="The batch had no kind of activity that the catalogue does not know."
        ),
    ]


def failed_blocking_check(names: Names, instance: dg.DagsterInstance) -> dg.AssetCheckKey | None:
    """A blocking check of silver whose newest evaluation failed, if there is one. One that is only planned tells nothing."""
    evaluated = {AssetCheckExecutionRecordStatus.SUCCEEDED, AssetCheckExecutionRecordStatus.FAILED}
    for key in (*(spec.key for spec in silver_check_specs(names) if spec.blocking), reconciliation_key(names)):
        newest = instance.event_log_storage.get_asset_check_execution_history(key, limit=1, status=evaluated)
        if newest and newest[0].status == AssetCheckExecutionRecordStatus.FAILED:
            return key
    return None


def silver_check_results(
    names: Names, lake: Lake, reports: Mapping[str, SilverReport], before: Mapping[str, int], selected: Collection[dg.AssetCheckKey]
) -> Iterator[dg.AssetCheckResult]:
    """Results of :func:`silver_check_specs` for a run, given its reports by source; ``before`` are the Delta versions, before it, of the tables that it made.

    The check of a table that the run did not make is executed alone and has no batch. It looks further, at the whole table or at the
    newest versions, so that a failure does not pass by being asked twice.
    """
    report = merged(list(reports.values()))
    for table in EVENT_TABLES:
        if dg.AssetCheckKey(names.silver(table), UNIQUENESS) in selected:
            repeated = repeated_new_ids(lake, table, above=before[table]) if table in before else repeated_ids(lake, table)
            yield dg.AssetCheckResult(
                asset_key=names.silver(table), check_name=UNIQUENESS, passed=repeated == 0, metadata={"activity_ids_repeated": repeated}
            )
    if dg.AssetCheckKey(names.silver(REJECTED_ITEMS), CONSERVATION) in selected:
        back = 0 if REJECTED_ITEMS in before else RECHECKED_VERSIONS
        yield _conservation(names, lake, {source: each.from_version - back for source, each in reports.items() if each.to_version})
    if names.nothing_set_aside in selected:
        yield _nothing_set_aside(names, count_set_aside(lake))
    if dg.AssetCheckKey(names.silver(REJECTED_ITEMS), _REJECTS) in selected:
        yield _warning(names.silver(REJECTED_ITEMS), _REJECTS, sum(report.rejected.values()), {"by_reason": dict(report.rejected)})
    if dg.AssetCheckKey(names.silver(UNRECOGNIZED), _DRIFT) in selected:
        unknown = report.tables[UNRECOGNIZED].rows if UNRECOGNIZED in report.tables else 0
        yield _warning(names.silver(UNRECOGNIZED), _DRIFT, unknown, {})


def _conservation(names: Names, lake: Lake, above: Mapping[str, int]) -> dg.AssetCheckResult:
    found = reduce(Conservation.plus, (conservation(lake, source=source, above=version) for source, version in above.items()), _NOTHING)
    return dg.AssetCheckResult(
        asset_key=names.silver(REJECTED_ITEMS),
        check_name=CONSERVATION,
        passed=found.holds,
        description=None if found.holds else _broken(found),
        metadata={
            "messages": found.messages,
            "items": found.items,
            "rows": found.rows,
            "rejected": found.rejected,
            "duplicates": found.duplicates,
            "set_aside": found.set_aside,
            "difference": found.difference,
            "uncovered": found.uncovered,
        },
    )


def _nothing_set_aside(names: Names, found: SetAside) -> dg.AssetCheckResult:
    key, text = names.nothing_set_aside, said_of(found)
    alerts = [Alert("error", "set aside", text)._asdict()] if found.messages else []
    return dg.AssetCheckResult(
        asset_key=key.asset_key,
        check_name=key.name,
        passed=not found.messages,
        severity=dg.AssetCheckSeverity.ERROR,
        description=text if found.messages else None,
        metadata={
            "messages": found.messages,
            "items": found.items,
            "reasons": dict(found.reasons),
            "alerts": dg.MetadataValue.json(alerts),
        },
    )


def _broken(found: Conservation) -> str:
    if found.miscounted:
        return f"Delta counted other rows than the ledger in {', '.join(found.miscounted)}."
    if found.uncovered:
        return f"{found.uncovered} items begin in messages and are in no row and no reject; bronze has them all."
    if not (difference := found.difference):
        return "Sources do not add up, and what one lacks another has twice: run `mg-lakehouse reconcile` for the hours; bronze has every item."
    return f"{abs(difference)} items are {'nowhere' if difference > 0 else 'counted twice'}; bronze has them all."


def _warning(asset: dg.AssetKey, name: str, count: int, metadata: Mapping[str, Any]) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        asset_key=asset,
        check_name=name,
        passed=count == 0,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"rows": count, **metadata},
    )
