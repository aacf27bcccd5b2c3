"""An asset of this project's own, behind the gold of both feeds: what each day's mail came to, side by side."""

import dagster as dg
import polars as pl

from mg_lakehouse import LakeResource

COUNTS = ("delivery_events", "bounce_events", "human_open_events", "human_click_events")


@dg.asset(
    deps=[["marketing", "gold", "job_metrics_daily"], ["transactional", "gold", "job_metrics_daily"]],
    automation_condition=dg.AutomationCondition.eager(),
    group_name="reporting",
    kinds={"deltalake", "polars"},
)
def mail_of_both(marketing_lake: LakeResource, transactional_lake: LakeResource) -> dg.MaterializeResult:
    """Events of each feed and UTC day. The newest days are in the metadata, as a table."""
    days = pl.concat([by_day("marketing", marketing_lake), by_day("transactional", transactional_lake)]).sort("event_date", "feed")
    newest = [dg.TableRecord({name: str(value) for name, value in day.items()}) for day in days.tail(60).to_dicts()]
    return dg.MaterializeResult(metadata={"dagster/row_count": len(days), "days": dg.MetadataValue.table(newest)})


def by_day(feed: str, lake: LakeResource) -> pl.DataFrame:
    """The counts of all jobs of a day; the lake's tables are plain Delta tables, for any reader."""
    metrics = pl.scan_delta(lake.get().uri_of("gold", "job_metrics_daily"))
    return metrics.group_by("event_date").agg(pl.sum(*COUNTS)).with_columns(feed=pl.lit(feed)).collect()
