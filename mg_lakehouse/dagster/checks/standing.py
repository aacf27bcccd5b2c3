"""The checks over whole silver tables. Their cost grows with the tables, so they have their own job."""

from collections.abc import Iterator
from typing import Final

import dagster as dg

from mg_lakehouse.audit.schema import schema_differences
from mg_lakehouse.audit.uniqueness import repeated_ids
from mg_lakehouse.dagster.names import Names
from mg_lakehouse.dagster.reporting import as_failure
from mg_lakehouse.dagster.resources import FeedResources
from mg_lakehouse.events.catalogue import silver_tables
from mg_lakehouse.silver.tables import EVENT_TABLES

__all__ = ["SCHEMA", "STANDING_UNIQUENESS", "build_standing_checks", "standing_check_keys"]

STANDING_UNIQUENESS: Final = "unique_activity_id_ever"

SCHEMA: Final = "schema_as_catalogued"


def standing_check_keys(names: Names) -> list[dg.AssetCheckKey]:
    """Return the keys of the checks over whole tables."""
    return [
        *(dg.AssetCheckKey(names.silver(table), STANDING_UNIQUENESS) for table in EVENT_TABLES),
        *(dg.AssetCheckKey(names.silver(table), SCHEMA) for table in silver_tables()),
    ]


_STANDING_DESCRIPTIONS: Final = {
    STANDING_UNIQUENESS: "No activity id occurs twice in the whole table.",
    SCHEMA: "The table's columns match the catalogue.",
}


def build_standing_checks(names: Names) -> dg.AssetChecksDefinition:
    """Build the checks over whole tables: run by their own job, or from an asset's page."""
    resources = FeedResources(names)
    specs = [
        dg.AssetCheckSpec(key.name, asset=key.asset_key, description=_STANDING_DESCRIPTIONS[key.name]) for key in standing_check_keys(names)
    ]

    @dg.multi_asset_check(
        name=names.qualified("silver_standing_checks"), specs=specs, can_subset=True, required_resource_keys=resources.keys_of_op("lake")
    )
    def silver_standing_checks(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        store = resources.lake(context)
        with as_failure():
            for key in sorted(context.selected_asset_check_keys, key=lambda key: (key.asset_key, key.name)):
                table = key.asset_key.path[-1]
                if key.name == SCHEMA:
                    differences = schema_differences(store, table)
                    yield dg.AssetCheckResult(
                        asset_key=key.asset_key,
                        check_name=key.name,
                        passed=not differences,
                        metadata={"differences": "; ".join(differences) or "none"},
                    )
                else:
                    repeated = repeated_ids(store, store.open("silver", table))
                    yield dg.AssetCheckResult(
                        asset_key=key.asset_key, check_name=key.name, passed=repeated == 0, metadata={"activity_ids_repeated": repeated}
                    )

    return silver_standing_checks
