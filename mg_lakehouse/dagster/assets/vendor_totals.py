"""The asset ``gold/reconciliation``: our days and jobs beside MessageGears' numbers, and a check that differences are explained."""

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

import dagster as dg
import polars as pl
from pydantic import Field

from mg_lakehouse._util.dates import days_between
from mg_lakehouse._util.escaping import for_markdown, visible
from mg_lakehouse._util.progress import Step
from mg_lakehouse.audit.tables import VENDOR_TOTALS
from mg_lakehouse.audit.vendor_totals import compare_day, replace_days
from mg_lakehouse.dagster.names import Names
from mg_lakehouse.dagster.reporting import OWNERS, RETRY_TRANSIENT, as_failure, opened_metadata
from mg_lakehouse.dagster.resources import FeedResources
from mg_lakehouse.errors import PermanentError
from mg_lakehouse.gold.contract import JOB_METRICS
from mg_lakehouse.settings import Settings
from mg_lakehouse.sources.web_service import missing_credentials

__all__ = ["DIFFERENCES_EXPLAINED", "DaysConfig", "build_vendor_totals", "requested_days"]

DIFFERENCES_EXPLAINED: Final = "differences_explained"

_SHOWN: Final = 50


class DaysConfig(dg.Config):
    """Days to compare; by default yesterday, in ``MG_ACTIVITY_TIMEZONE``."""

    first_day: str | None = Field(default=None, description="First day, such as 2026-03-01.")
    last_day: str | None = Field(default=None, description="Last day.")


def requested_days(config: DaysConfig, settings: Settings) -> list[date]:
    """Return the days that a config selects.

    Raises:
        PermanentError: a date is invalid.
    """
    yesterday = datetime.now(ZoneInfo(settings.activity_timezone)).date() - timedelta(days=1)
    return days_between(_day(config.first_day) or yesterday, _day(config.last_day) or yesterday)


def build_vendor_totals(settings: Settings) -> dg.AssetsDefinition:
    """Build the asset, with the check ``differences_explained``, which warns."""
    names = Names(settings.feed)
    resources, key = FeedResources(names), names.gold(VENDOR_TOTALS.name)
    schema = dg.TableSchema(
        [dg.TableColumn(name, str(dtype), description=VENDOR_TOTALS.comments[name]) for name, dtype in VENDOR_TOTALS.schema.items()]
    )

    @dg.asset(
        key=key,
        deps=[names.gold(JOB_METRICS), names.account_activity],
        description=f"{VENDOR_TOTALS.description} A run replaces the rows of the days in its config; by default yesterday's.",
        group_name=names.group("gold"),
        kinds={"deltalake", "polars"},
        owners=list(OWNERS),
        metadata={"dagster/column_schema": schema},
        check_specs=[
            dg.AssetCheckSpec(
                DIFFERENCES_EXPLAINED,
                asset=key,
                description="Every difference from MessageGears' own numbers has a known reason.",
            )
        ],
        pool=names.pool("reconciliation"),
        required_resource_keys=resources.keys_of_op("lake", "web_service", "progress"),
        retry_policy=RETRY_TRANSIENT,
    )
    def reconciliation(context: dg.AssetExecutionContext, config: DaysConfig) -> Iterator[dg.MaterializeResult[Any]]:
        with as_failure():
            days, store, progress = requested_days(config, settings), resources.lake(context), resources.progress(context)
            service = None if missing_credentials(settings) else resources.web_service(context, settings)
            if service is None:
                missing = " and ".join(missing_credentials(settings))
                context.log.info("Only files are compared: set %s for MessageGears' summaries.", missing)
            compared: list[pl.DataFrame] = []
            for day in days:
                compared.append(compare_day(store, settings, day, service, now=datetime.now(UTC), progress=context.log.warning))
                progress.report(context.log, Step("reconciliation", len(compared), "days compared"))
            rows = pl.concat(compared)
            replace_days(store, days, rows)
        yield dg.MaterializeResult(
            metadata={**_metadata(rows), **opened_metadata(store, "gold", VENDOR_TOTALS.name)},
            check_results=[_check(key, rows)],
        )

    return reconciliation


def _day(text: str | None) -> date | None:
    try:
        return None if text is None else date.fromisoformat(text)
    except ValueError as error:
        raise PermanentError(f"Invalid date {text!r}: use YYYY-MM-DD.") from error


def _metadata(rows: pl.DataFrame) -> dict[str, Any]:
    return {
        "numbers_compared": rows["difference"].count(),
        "numbers_equal": (rows["difference"] == 0).sum(),
        "numbers_explained": (rows["is_explained"] & (rows["difference"] != 0)).sum(),
        "numbers_unexplained": (~rows["is_explained"]).sum(),
        "events_lost_by_the_queue": rows["lost_by_the_queue"].sum(),
        "differences": _table(rows.filter(pl.col("difference") != 0).to_dicts()),
    }


def _check(key: dg.AssetKey, rows: pl.DataFrame) -> dg.AssetCheckResult:
    unexplained = rows.filter(~pl.col("is_explained")).sort(pl.col("difference").abs(), descending=True).to_dicts()
    message = None
    if unexplained:
        worst = unexplained[0]
        of_job = f" of job {worst['request_id']}" if worst["request_id"] else ""
        message = (
            f"{len(unexplained)} numbers differ without a known reason; the largest difference, {worst['metric']}{of_job} on {worst['activity_date']}: "
            f"{worst['ours']:,} here, {worst['theirs']:,} in the {worst['compared_with'].replace('_', ' ')}."
        )
    return dg.AssetCheckResult(
        check_name=DIFFERENCES_EXPLAINED,
        asset_key=key,
        passed=not unexplained,
        severity=dg.AssetCheckSeverity.WARN,
        description=None if message is None else for_markdown(message),
        metadata={"unexplained": _table(unexplained)},
    )


def _table(rows: Sequence[dict[str, Any]]) -> dg.TableMetadataValue:
    columns = ("activity_date", "request_id", "compared_with", "metric", "ours", "theirs", "difference", "reasons")
    records = [dg.TableRecord({name: _cell(row[name]) for name in columns}) for row in rows[:_SHOWN]]
    return dg.MetadataValue.table(records, schema=dg.TableSchema([dg.TableColumn(name) for name in columns]))


def _cell(value: Any) -> str | int | None:
    if isinstance(value, list):
        return ", ".join(visible(text) for text in value)
    return value if value is None or isinstance(value, int) else visible(str(value))
