"""Gold of a lake in which an older release left times beyond Python's calendar: it is built, and follows when they are gone."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from deltalake import write_deltalake

from mg_lakehouse.events.schemas import TIMESTAMP, silver_schema
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.silver.tables import silver_spec
from mg_lakehouse_tests.gold.helpers import append, build, event, table

SECONDS_OF_YEAR_10000 = 253_402_300_800
MODELS = "job_metrics job_metrics_daily client_metrics_daily suppression_list mailbox_provider_daily"


@pytest.mark.slow
@pytest.mark.parametrize("request_id", ["b1-job", None])
def test_an_event_of_the_year_10000(tmp_path: Path, request_id: str | None) -> None:
    """From `9999-12-31T23:59:59-05:00`, which silver took and no build of gold went through with."""
    lake = Lake(str(tmp_path / "lake"))
    append(lake, [event("deliveries", request="b1-job", recipient_id="r1"), event("opens", 60, request="b1-job", recipient_id="r1")])
    handle = lake.open("silver", "opens")
    assert handle is not None
    late = pl.read_delta(str(Path(lake.root, "silver", "opens"))).with_columns(
        activity_id=pl.lit("late"),
        request_id=pl.lit(request_id, pl.String),
        event_at=pl.lit(SECONDS_OF_YEAR_10000 * 10**6, pl.Int64).cast(TIMESTAMP),
        event_date=pl.lit(SECONDS_OF_YEAR_10000 // 86_400, pl.Int32).cast(pl.Date),
    )
    write_deltalake(handle, late.select(silver_schema("opens").names()).to_arrow(compat_level=pl.CompatLevel.oldest()), mode="append")
    build(lake, select=MODELS, data_tests=True)
    append(lake, [event("opens", 90, request="b1-job", recipient_id="r2")])
    build(lake, select=MODELS, data_tests=True)
    lake.ensure(silver_spec("opens")).delete("activity_id = 'late'")
    build(lake, select=MODELS, data_tests=True)
    assert table(lake, "job_metrics").select("open_events").item() == 2
    assert table(lake, "job_metrics_daily").select("event_date", "open_events").rows() == [(event("opens").values["event_at"].date(), 2)]
