"""How often a gold build asks an S3 lake: each log is opened a few times in a build, whatever number of models and tests reads the table."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Final

import pytest

from mg_lakehouse._util.environment import set_environment
from mg_lakehouse.events.catalogue import silver_tables
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.testing.s3 import S3Server
from mg_lakehouse.testing.s3_proxy import FaultProxy, Request
from mg_lakehouse_tests.gold.helpers import MARTS, append, build, event

FIRST = [
    event("deliveries", recipient_id="1", email="ada@gmail.com"),
    event("bounces", recipient_id="2", category_code=10),
    event("sms_deliveries", request="t1-texts", recipient_id="1", phone="+15550001"),
]
LATER = [event("opens", 60, email="ada@gmail.com"), event("opens", 60, request=None)]

SILVER: Final = silver_tables()


@pytest.fixture(scope="module")
def builds(s3_server: S3Server, s3_proxy: FaultProxy, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Request]]:
    """The requests of three builds, dbt's tests included."""
    lake = Lake(s3_server.make_bucket("requests") + "/lake")

    found: dict[str, list[Request]] = {}
    with set_environment(s3_proxy.environment):
        os.environ.pop("AWS_PROFILE", None)
        for name, events in {"first": FIRST, "incremental": LATER, "nothing new": []}.items():
            append(lake, events)
            s3_proxy.seen()
            build(lake)
            found[name] = s3_proxy.seen()
    return found


def logs_listed(requests: list[Request]) -> Mapping[str, int]:
    """How often each table's log was listed, which each look at a table's newest version begins with.

    What the server did not answer is asked again, by delta-rs and by DuckDB: on a busy machine a log was listed once more than a build looks.
    """
    answered = [request.query for request in requests if "list-type" in request.query and request.status == HTTPStatus.OK]
    listed = [query.partition("prefix=")[2].partition("&")[0] for query in answered]
    tables = ("/".join(Path(prefix.replace("%2F", "/")).parent.parts[-2:]) for prefix in listed)
    return Counter(table.removeprefix("silver/") for table in tables)


UNCHANGED: Final = {"bounce_reasons_daily", "dim_bounce_categories", "engage_metrics_daily", "metric_dictionary", "job_errors", "render_errors",
                    "sms_inbound_daily"}  # fmt: skip
"""The tables that an open changes nothing of."""


@pytest.mark.parametrize(
    ("name", "looks", "touched"),
    [
        # Looked for when the connection and the plan are made, made (5), and committed to (3).
        pytest.param("first", 2 + 5 + 3, {"deliveries": 3, "bounces": 3, "sms_deliveries": 3}, id="first"),
        # Opened, asked for what it was made of, and committed to (2). The change feed of opens is one more look, and one more where recipient_addresses
        # reads the rows that came; its ledger is read by feed_health_hourly, the newest entry, then some of those before.
        pytest.param("incremental", 1 + 1 + 2, {"opens": 5}, id="incremental"),
        pytest.param("nothing new", 1 + 1, {}, id="nothing new"),
    ],
)
def test_a_build_opens_each_log_a_few_times(builds: dict[str, list[Request]], name: str, looks: int, touched: dict[str, int]) -> None:
    expected = {f"gold/{mart}": looks for mart in MARTS}
    if name == "incremental":
        expected |= {f"gold/{mart}": 1 + 1 for mart in UNCHANGED}
        # The log of restatements reads the change feeds of the first two and by which definitions they were made, the violations the feed of the
        # evidence, and both of these that of the addresses, whose commit looks at its log twice less than a replacement.
        expected |= {
            "gold/job_metrics": 7,
            "gold/bounce_categories_daily": 7,
            "gold/suppression_evidence": 5,
            "gold/recipient_addresses": 6,
        }
    assert logs_listed(builds[name]) == expected | dict.fromkeys(SILVER, 1) | touched


@pytest.mark.parametrize(("name", "most"), [("first", 32), ("incremental", 24), ("nothing new", 16)])
def test_a_build_asks_tens_of_times_a_model_and_not_hundreds(builds: dict[str, list[Request]], name: str, most: int) -> None:
    """Where each of eight models and its tests opened their tables for themselves, these were 188, 265 and 214 requests a model, of some 20 ms on AWS.

    Where DuckDB's extension read the logs, for each statement anew, they were 45, 43 and 33.
    """
    assert len(builds[name]) <= most * len(MARTS)


def test_a_build_reads_a_data_file_once_however_many_queries_need_it(builds: dict[str, list[Request]]) -> None:
    """A file never changes: DuckDB asks for its head once, or once for each of dbt's two threads where both come at the same moment."""
    heads = Counter(request.path for request in builds["first"] if request.method == "HEAD")
    assert heads
    assert max(heads.values()) <= 2
    assert sum(heads.values()) <= len(heads) + len(heads) // 4
