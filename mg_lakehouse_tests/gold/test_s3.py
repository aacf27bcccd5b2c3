"""Gold on an S3 lake: the same builds, with the standard AWS settings, and how often a build asks the store.

Each log is opened a few times in a build, whatever number of models and tests reads the table.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Final

import pytest

from mg_lakehouse._util.environment import set_environment
from mg_lakehouse.errors import ConfigurationError
from mg_lakehouse.gold import engine
from mg_lakehouse.lake import duck
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.lake.sql import text
from mg_lakehouse.settings import Settings
from mg_lakehouse.testing.s3 import S3Server
from mg_lakehouse.testing.s3_proxy import FaultProxy, Request
from mg_lakehouse_tests.gold.helpers import DERIVED, MARTS, append, build, event, one, replaced, rows_of, table

FIRST = [
    event("deliveries", recipient_id="1", email="ada@gmail.com"),
    event("bounces", recipient_id="2", category_code=10),
    event("sms_deliveries", request="t1-texts", recipient_id="1", phone="+15550001"),
]
LATER = [event("opens", 60, email="ada@gmail.com"), event("opens", 60, request=None)]


_AT_FIRST: Final = ("deliveries", "bounces", "sms_deliveries")
WRITTEN: Final = {"first": _AT_FIRST, "incremental": (*_AT_FIRST, "opens"), "nothing new": (*_AT_FIRST, "opens")}
"""The tables of silver that there are at each build: no log of another is asked for."""


@dataclass(frozen=True)
class Done:
    """A lake built three times: the second time over news of one job, the third over none; and the requests of each build."""

    lake: Lake
    requests: dict[str, list[Request]]


@pytest.fixture(scope="module")
def done(s3_server: S3Server, s3_proxy: FaultProxy) -> Iterator[Done]:
    lake = Lake(s3_server.make_bucket("gold") + "/some/prefix/")
    found: dict[str, list[Request]] = {}
    with set_environment(s3_proxy.environment):
        os.environ.pop("AWS_PROFILE", None)
        for name, events in {"first": FIRST, "incremental": LATER, "nothing new": []}.items():
            append(lake, events)
            s3_proxy.seen()
            build(Lake(lake.uri))  # as a process of its own would, which has no handle yet
            found[name] = s3_proxy.seen()
        yield Done(lake, found)


@pytest.fixture
def lake(done: Done) -> Lake:
    return done.lake


@pytest.fixture
def builds(done: Done) -> dict[str, list[Request]]:
    """The requests of the three builds."""
    return done.requests


def test_a_lake_on_s3_has_the_rows_of_a_local_one(lake: Lake, tmp_path: Path) -> None:
    local = Lake(str(tmp_path / "lake"))
    append(local, [*FIRST, *LATER])
    build(local)
    for name in DERIVED:
        assert rows_of(lake, name) == rows_of(local, name), name


def test_the_second_build_on_s3_rewrote_the_touched_job_only(lake: Lake) -> None:
    predicate = str(replaced(lake, "job_metrics"))
    assert "t06926-job" in predicate
    assert "t1-texts" not in predicate
    assert one(table(lake, "job_metrics"), channel="email")["unique_openers"] == 1


def test_duckdb_reads_an_s3_lake(lake: Lake) -> None:
    with duck.connect(lake) as connection:
        query = f"select request_id, accepted from delta_scan({text(lake.uri_of('gold', 'job_metrics'))}) order by all"
        assert connection.execute(query).fetchall() == [("t06926-job", 1), ("t1-texts", 1)]


def test_the_secret_of_duckdb_is_for_the_lake_alone_and_hides_its_values(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "test-token")
    with duck.connect(lake) as connection:
        (secret,) = connection.execute("select scope, secret_string, persistent from duckdb_secrets()").fetchall()
    scope, text, persistent = secret
    assert scope == ["s3://gold/some/prefix"]
    assert not persistent
    assert "test-secret" not in text
    assert "test-token" not in text


def test_an_s3_lake_without_a_key_is_refused_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MG_PII_KEY", raising=False)
    lake = Lake("s3://gold")
    with pytest.raises(ConfigurationError) as refused:
        engine.build(lake, Settings(lake_uri=lake.uri))
    assert str(refused.value) == (
        "MG_PII_KEY is not set, and the lake s3://gold is not a local folder: set it to a long random text and keep it, "
        "for the recipient keys in gold depend on it."
    )


def logs_listed(requests: list[Request]) -> Mapping[str, int]:
    """How often each table's log was listed, which each look at a table's newest version begins with.

    What the server did not answer is asked again, by delta-rs and by DuckDB: on a busy machine a log was listed once more than a build looks.
    """
    answered = [request.query for request in requests if "list-type" in request.query and request.status == HTTPStatus.OK]
    listed = [query.partition("prefix=")[2].partition("&")[0] for query in answered]
    logs = [Path(prefix.replace("%2F", "/")) for prefix in listed if "_delta_log" in prefix]
    tables = ("/".join(log.parent.parts[-2:]) for log in logs)
    return Counter(table.removeprefix("silver/") for table in tables)


UNCHANGED: Final = {"bounce_reasons_daily", "dim_bounce_categories", "engage_metrics_daily", "metric_dictionary", "job_errors", "render_errors",
                    "sms_inbound_daily"}  # fmt: skip
"""The tables that an open changes nothing of."""


@pytest.mark.parametrize(
    ("name", "looks", "touched"),
    [
        # One listing of gold says that there is none: looked for when the plan is made, made (4), and committed to (3).
        pytest.param("first", 1 + 4 + 3, {}, id="first"),
        # Opened and committed to (2); what it was made of is in its newest entry, which is read without a listing. The change feed of opens is one
        # more look, and one more where recipient_addresses reads the rows that came.
        pytest.param("incremental", 1 + 2, {"opens": 3}, id="incremental"),
        pytest.param("nothing new", 1, {}, id="nothing new"),
    ],
)
def test_a_build_opens_each_log_a_few_times(builds: dict[str, list[Request]], name: str, looks: int, touched: dict[str, int]) -> None:
    expected = {f"gold/{mart}": looks for mart in MARTS}
    if name == "incremental":
        expected |= {f"gold/{mart}": 1 for mart in UNCHANGED}
        # The log of restatements reads the change feeds of the first two, the violations that of the evidence, and both of these that of the addresses.
        expected |= {
            "gold/job_metrics": 4,
            "gold/bounce_categories_daily": 4,
            "gold/suppression_evidence": 4,
            "gold/recipient_addresses": 5,
        }
    assert logs_listed(builds[name]) == expected | dict.fromkeys(WRITTEN[name], 1) | touched


@pytest.mark.parametrize(("name", "most"), [("first", 31), ("incremental", 20), ("nothing new", 12)])
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
