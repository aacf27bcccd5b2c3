"""What looking at a lake on S3 asks of it: requests by kind, and what they do not grow with."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Final

import dagster as dg
import pytest

from mg_lakehouse._util.environment import set_environment
from mg_lakehouse.bronze.tables import BRONZE_TABLES
from mg_lakehouse.dagster.build import build_definitions
from mg_lakehouse.events.catalogue import silver_tables
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.location import Layer
from mg_lakehouse.maintenance.run import maintain
from mg_lakehouse.serving.sandbox.sandbox import ad_hoc
from mg_lakehouse.serving.status import read_status
from mg_lakehouse.settings import Settings
from mg_lakehouse.silver.update import flatten_new
from mg_lakehouse.testing.s3 import S3Server
from mg_lakehouse.testing.s3_proxy import FaultProxy, Request
from mg_lakehouse.testing.samples import samples
from mg_lakehouse.testing.sqs import SqsEmulator
from mg_lakehouse_tests.dagster.ticks import tick
from mg_lakehouse_tests.events.frames import bundle, item
from mg_lakehouse_tests.gold.helpers import build
from mg_lakehouse_tests.lake.feeds import receive

pytestmark = pytest.mark.s3

KEY: Final = "k" * 40
GOLD: Final = ("dim_jobs", "job_metrics")

Asked = Callable[[Callable[[], object]], Counter[str]]


@pytest.fixture(scope="module")
def lake(s3_server: S3Server, s3_proxy: FaultProxy) -> Iterator[Lake]:
    """The samples in bronze and silver, and what two gold tables are made of."""
    with set_environment(s3_proxy.environment):
        os.environ.pop("AWS_PROFILE", None)
        filled = Lake(s3_server.make_bucket("looked-at"))
        receive(filled, list(samples().values()))
        flatten_new(filled)
        build(filled, select=" ".join(GOLD))
        yield filled


@pytest.fixture
def asked(lake: Lake, s3_proxy: FaultProxy) -> Asked:
    def of(do: Callable[[], object]) -> Counter[str]:
        s3_proxy.seen()
        do()
        return Counter(kind(request) for request in s3_proxy.seen())

    return of


def kind(request: Request) -> str:
    if "list-type" in request.query:
        return "LIST"
    name = request.path.rsplit("/", 1)[-1]
    return f"{request.method} {'entry' if name.endswith('.json') else 'file' if name.endswith('.parquet') else name}"


def settings(lake: Lake) -> Settings:
    return Settings(lake_uri=lake.uri, pii_key=KEY)


def count(lake: Lake, table: str) -> int:
    with ad_hoc(lake, settings(lake)) as query:
        return int(query.rows(f"select count(*) as n from {table}").read_all().to_pylist()[0]["n"])


def commits(lake: Lake) -> dict[str, int]:
    """Commits of each table that there is, by layer and name; none has a checkpoint."""
    layers: dict[Layer, Iterable[str]] = {"bronze": BRONZE_TABLES, "silver": silver_tables(), "gold": lake.written("gold")}
    handles = {f"{layer}/{name}": Lake(lake.uri).open(layer, name) for layer, names in layers.items() for name in names}
    return {name: handle.version() + 1 for name, handle in handles.items() if handle is not None}


def test_a_statement_asks_for_the_tables_that_it_names(lake: Lake, asked: Asked) -> None:
    """Three listings tell which tables there are; delta-rs opens the table for its columns, which reads each entry twice; DuckDB reads the log when it
    makes the view, when it binds the statement and when it runs it."""
    entries = commits(lake)["gold/job_metrics"]
    seen = asked(lambda: count(lake, "gold.job_metrics"))
    assert seen["LIST"] == 3 + 1 + 2
    assert seen["GET entry"] == 2 * entries + 3 * entries
    assert seen.total() <= 60


def test_a_statement_asks_the_same_however_many_commits_other_tables_have(lake: Lake, asked: Asked) -> None:
    before = asked(lambda: count(lake, "gold.job_metrics"))
    for number in range(3):
        receive(lake, [bundle(item("OpenActivity", ActivityId=f"more{number}", RequestId="b1-1"))], first=100 + number)
        flatten_new(lake)
    assert asked(lambda: count(lake, "gold.job_metrics")) == before


def test_status_asks_for_each_table_that_there_is_and_for_no_other(lake: Lake, asked: Asked) -> None:
    """Each is opened, which lists its log, looks for a checkpoint and reads each entry twice; then its newest entry, which says when it was committed.

    Besides: a listing for each layer, one more look at bronze's three tables and at two of silver, and silver's progress.
    """
    tables = commits(lake)
    seen = asked(lambda: read_status(settings(lake)))
    assert len(tables) < len(BRONZE_TABLES) + len(silver_tables()) + len(GOLD)
    assert seen["GET entry"] >= sum(2 * entries + 1 for entries in tables.values())
    assert seen["LIST"] <= 3 + 2 * len(tables) + 8
    assert not {each for each in seen if not each.startswith(("LIST", "GET"))}


def test_maintenance_with_nothing_to_do_writes_nothing(lake: Lake, asked: Asked) -> None:
    """The first one sets the properties that say how long files and entries are kept."""
    list(maintain(lake, settings(lake)))
    again = Lake(lake.uri)
    seen = asked(lambda: list(maintain(again, settings(lake))))
    assert not {each for each in seen if not each.startswith(("LIST", "GET"))}
    assert seen.total() <= 20 * len(commits(lake))


def test_the_sensor_asks_s3_for_nothing_while_nothing_waits(lake: Lake, asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    with SqsEmulator() as queue, dg.DagsterInstance.ephemeral() as instance:
        for name, value in queue.environment.items():
            monkeypatch.setenv(name, value)
        definitions = build_definitions(Settings(lake_uri=lake.uri, pii_key=KEY, queue_url=queue.queue_url))
        seen = asked(lambda: tick(definitions, "event_feed_sensor", instance))
    assert not seen
