"""The checks that the silver op runs on its own commits, and the query for a blocking check that failed.

Blocking: conservation (every item of the batch is a row, a reject or a counted duplicate) and uniqueness (no activity id
twice). Warning: unknown activities, rejects.
"""

from collections.abc import Collection, Iterator, Mapping
from functools import reduce
from typing import Any, Final

import dagster as dg
from deltalake import DeltaTable

from mg_lakehouse.audit.conservation import RECHECKED_VERSIONS, Conservation, conservation
from mg_lakehouse.audit.uniqueness import repeated_ids, repeated_new_ids
from mg_lakehouse.dagster.checks.hourly_balance import hours_balance_key
from mg_lakehouse.dagster.internals import AssetCheckExecutionRecordStatus
from mg_lakehouse.dagster.names import Names
from mg_lakehouse.events.catalogue import REJECTED_ITEMS, SET_ASIDE, UNRECOGNIZED
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.serving.alerts import Alert
from mg_lakehouse.silver.report import SilverReport, merged
from mg_lakehouse.silver.set_aside import SetAside, count_set_aside, set_aside_message
from mg_lakehouse.silver.tables import EVENT_TABLES

__all__ = ["CONSERVATION", "UNIQUENESS", "blocking_checks", "failed_blocking_check", "silver_check_results", "silver_check_specs"]

CONSERVATION: Final = "conservation"

UNIQUENESS: Final = "unique_activity_id"

_DRIFT: Final = "no_unknown_activities"

_NOTHING: Final = Conservation(messages=0, items=0, rows=0, duplicates=0, rejected=0, miscounted=())

_REJECTS: Final = "nothing_rejected"


def silver_check_specs(names: Names) -> list[dg.AssetCheckSpec]:
    """Return the checks that the silver op runs on its own commits."""
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
            description="Items of the batch = rows in all event tables + rejected items + counted duplicates + items set aside, as counted by Delta.",
        ),
        dg.AssetCheckSpec(
            names.nothing_set_aside.name,
            asset=rejected,
            description="No message is set aside because it failed to flatten. Covers all messages ever set aside, until they are flattened.",
        ),
        dg.AssetCheckSpec(_REJECTS, asset=rejected, description="Every item of the batch became a row."),
        dg.AssetCheckSpec(_DRIFT, asset=names.silver(UNRECOGNIZED), description="The catalogue knows every kind of activity in the batch."),
    ]


def blocking_checks(names: Names) -> list[dg.AssetCheckKey]:
    """Return the checks that gold asks for before it is built; a check that is only marked as blocking stops nothing but its own run."""
    return [*(spec.key for spec in silver_check_specs(names) if spec.blocking), hours_balance_key(names)]


def failed_blocking_check(names: Names, instance: dg.DagsterInstance) -> dg.AssetCheckKey | None:
    """Return a blocking check of silver whose newest evaluation failed, if there is one. Planned evaluations do not count."""
    evaluated = {AssetCheckExecutionRecordStatus.SUCCEEDED, AssetCheckExecutionRecordStatus.FAILED}
    for key in blocking_checks(names):
        newest = instance.event_log_storage.get_asset_check_execution_history(key, limit=1, status=evaluated)
        if newest and newest[0].status == AssetCheckExecutionRecordStatus.FAILED:
            return key
    return None


def silver_check_results(
    names: Names,
    lake: Lake,
    tables: Mapping[str, DeltaTable],
    reports: Mapping[str, SilverReport],
    before: Mapping[str, int],
    *,
    selected: Collection[dg.AssetCheckKey],
) -> Iterator[dg.AssetCheckResult]:
    """Yield the results of :func:`silver_check_specs` for a run.

    ``tables`` are silver's as :func:`~mg_lakehouse.silver.tables.open_silver` opened them after the run's commits, ``reports`` the run's reports by source, ``before`` the Delta versions of its tables before the run. A table that is not in ``before``
    has no batch: its check is executed alone. It covers the whole table or the newest versions, so that a failed check does not pass when it
    is executed again.
    """
    report = merged(list(reports.values()))
    for table in EVENT_TABLES:
        if dg.AssetCheckKey(names.silver(table), UNIQUENESS) in selected:
            handle = tables.get(table)
            repeated = repeated_new_ids(lake, handle, above=before[table]) if table in before else repeated_ids(lake, handle)
            yield dg.AssetCheckResult(
                asset_key=names.silver(table), check_name=UNIQUENESS, passed=repeated == 0, metadata={"activity_ids_repeated": repeated}
            )
    if dg.AssetCheckKey(names.silver(REJECTED_ITEMS), CONSERVATION) in selected:
        back = 0 if REJECTED_ITEMS in before else RECHECKED_VERSIONS
        # A source without new commits has nothing to add up, and its last ledger may lie thousands of commits back.
        looked_at = {source: made.from_version - back for source, made in reports.items() if made.to_version > made.from_version - back}
        yield _conservation(names, lake, tables, looked_at)
    if names.nothing_set_aside in selected:
        yield _nothing_set_aside(names, count_set_aside(lake, tables.get(SET_ASIDE)))
    if dg.AssetCheckKey(names.silver(REJECTED_ITEMS), _REJECTS) in selected:
        yield _warning(names.silver(REJECTED_ITEMS), _REJECTS, sum(report.rejected.values()), {"by_reason": dict(report.rejected)})
    if dg.AssetCheckKey(names.silver(UNRECOGNIZED), _DRIFT) in selected:
        unknown = report.tables[UNRECOGNIZED].rows if UNRECOGNIZED in report.tables else 0
        yield _warning(names.silver(UNRECOGNIZED), _DRIFT, unknown, {})


def _conservation(names: Names, lake: Lake, tables: Mapping[str, DeltaTable], above: Mapping[str, int]) -> dg.AssetCheckResult:
    sums = (conservation(lake, source=source, above=version, tables=tables) for source, version in above.items())
    total = reduce(Conservation.plus, sums, _NOTHING)
    return dg.AssetCheckResult(
        asset_key=names.silver(REJECTED_ITEMS),
        check_name=CONSERVATION,
        passed=total.holds,
        description=None if total.holds else _broken(total),
        metadata={
            "messages": total.messages,
            "items": total.items,
            "rows": total.rows,
            "rejected": total.rejected,
            "duplicates": total.duplicates,
            "set_aside": total.set_aside,
            "difference": total.difference,
            "uncovered": total.uncovered,
        },
    )


def _nothing_set_aside(names: Names, set_aside: SetAside) -> dg.AssetCheckResult:
    key, text = names.nothing_set_aside, set_aside_message(set_aside)
    alerts = [Alert("error", "set aside", text)._asdict()] if set_aside.messages else []
    return dg.AssetCheckResult(
        asset_key=key.asset_key,
        check_name=key.name,
        passed=not set_aside.messages,
        severity=dg.AssetCheckSeverity.ERROR,
        description=text if set_aside.messages else None,
        metadata={
            "messages": set_aside.messages,
            "items": set_aside.items,
            "reasons": dict(set_aside.reasons),
            "alerts": dg.MetadataValue.json(alerts),
        },
    )


def _broken(total: Conservation) -> str:
    if total.miscounted:
        return f"Delta and the ledger count different rows in {', '.join(total.miscounted)}."
    if total.uncovered:
        return f"{total.uncovered} items begin in messages and are in no row and no reject; bronze has them all."
    if not (difference := total.difference):
        return "Sources do not add up: one lacks items that another has twice. Run `mg-lakehouse reconcile` for the hours; bronze has every item."
    return f"{abs(difference)} items are {'nowhere' if difference > 0 else 'counted twice'}; bronze has them all."


def _warning(asset: dg.AssetKey, name: str, count: int, metadata: Mapping[str, Any]) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        asset_key=asset,
        check_name=name,
        passed=count == 0,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"rows": count, **metadata},
    )
