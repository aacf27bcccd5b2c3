"""The dictionary of metrics says what the tables do."""

from __future__ import annotations

import polars as pl
import pytest

from mg_lakehouse.lake.lake import Lake
from mg_lakehouse_tests.gold.helpers import append, build, one, table
from mg_lakehouse_tests.gold.test_metrics import CAMPAIGN


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    lake = Lake(str(tmp_path_factory.mktemp("dictionary") / "lake"))
    append(lake, CAMPAIGN)
    build(lake, select="metric_dictionary job_metrics", data_tests=True)
    return lake


def test_every_metric_of_a_job_is_in_it_once(lake: Lake) -> None:
    metrics = table(lake, "metric_dictionary")
    of_jobs = set(table(lake, "job_metrics").columns) - {"request_id", "channel", "job_date", "maturity"}
    assert metrics["metric"].is_unique().all()
    assert set(metrics["metric"]) >= of_jobs
    assert set(metrics.filter(pl.col("tables").list.contains("job_metrics"))["metric"]) == of_jobs


def test_it_says_what_a_rate_divides(lake: Lake) -> None:
    row = one(table(lake, "metric_dictionary"), metric="hard_bounce_rate")
    assert row == {
        "metric": "hard_bounce_rate",
        "kind": "rate",
        "definition": "hard_bounced / attempted.",
        "numerator_metric": "hard_bounced",
        "denominator_metric": "attempted",
        "formula": "hard_bounced / attempted",
        "exclusions": "Suppressed, rejected and not rendered messages: nobody tried to deliver them.",
        "tables": ["job_metrics", "mailbox_provider_daily", "recipient_domain_daily"],
    }


def test_the_formulas_give_what_the_table_holds(lake: Lake) -> None:
    """Numerator over denominator, as the dictionary names them, is the rate that stands in the table."""
    jobs = table(lake, "job_metrics")
    rates = table(lake, "metric_dictionary").filter(kind="rate")
    assert rates.height > 15
    for row in rates.iter_rows(named=True):
        if "+" in row["numerator_metric"] or row["numerator_metric"] not in jobs.columns or row["denominator_metric"] not in jobs.columns:
            continue
        for job in jobs.iter_rows(named=True):
            whole = job[row["denominator_metric"]]
            wanted = job[row["numerator_metric"]] / whole if whole else None
            assert job[row["metric"]] == pytest.approx(wanted), (row["metric"], job["channel"])
