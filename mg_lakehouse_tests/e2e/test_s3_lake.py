"""The commands of a person on an S3 lake: a real S3 server, a queue at another endpoint, the same rows as on a disk, and the rights that it takes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import polars as pl
import pytest

from mg_lakehouse._util.environment import set_environment
from mg_lakehouse.bronze.append import append_batch
from mg_lakehouse.bronze.event_feed import drain
from mg_lakehouse.bronze.tables import EVENT_FEED
from mg_lakehouse.errors import PermanentError
from mg_lakehouse.events.catalogue import silver_tables
from mg_lakehouse.gold import engine
from mg_lakehouse.lake import duck
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.lake.sql import text
from mg_lakehouse.settings import Settings
from mg_lakehouse.silver.update import flatten_new
from mg_lakehouse.sources.sqs import EventQueue
from mg_lakehouse.testing.feed.feed import FeedPlan, generate
from mg_lakehouse.testing.s3 import S3Server
from mg_lakehouse.testing.s3_proxy import FaultProxy, Request, Rule
from mg_lakehouse.testing.samples import samples
from mg_lakehouse.testing.sqs import SqsEmulator
from mg_lakehouse_tests.cli.commands import command, environment, process, sentence
from mg_lakehouse_tests.gold.helpers import DERIVED, rows_of, settings
from mg_lakehouse_tests.lake.feeds import batch
from mg_lakehouse_tests.security.iam import Policy, rights_of

pytestmark = pytest.mark.e2e

END: Final = datetime(2026, 3, 20, 12, tzinfo=UTC)
NOWHERE: Final = "http://127.0.0.1:9"
PREFIX: Final = "some/prefix"
PII: Final = {"MG_PII_KEY": "a key that only tests use", "MG_AS_OF": (END + timedelta(hours=5)).isoformat()}


def variables_of(queue: SqsEmulator, server: S3Server | FaultProxy, **more: str) -> dict[str, str]:
    """One endpoint for the queue, one for the lake, and nobody at the one for everything else."""
    aws = {**queue.environment, **server.environment}
    return {**aws, **PII, "AWS_ENDPOINT_URL": NOWHERE, "AWS_ENDPOINT_URL_SQS": queue.endpoint_url, **more}


@dataclass(frozen=True)
class Done:
    """A feed in two halves, each followed by `mg-lakehouse run`; then `mg-lakehouse status`; and what all of it asked of S3."""

    lake: Lake
    queue: SqsEmulator
    bodies: list[str]
    published: int
    left: int
    status: str
    requests: list[Request]


def bodies_of(size: str) -> list[str]:
    """A generated feed, or a few of its kinds of event: each table costs a hundred requests or so."""
    if size == "feed":
        return [bundle.body for bundle in generate(FeedPlan(seed=20260321, events=3_000, start=END - timedelta(days=20), end=END)).bundles]
    few = [body for name, body in samples().items() if any(kind in name for kind in ("Click", "Delivered", "Open", "BouncedMessage"))]
    return [body.replace("</RequestId>", f"{number}</RequestId>") for number in range(3) for body in few]


@pytest.fixture(scope="module", params=["few", pytest.param("feed", marks=pytest.mark.faults)])
def done(
    request: pytest.FixtureRequest, s3_server: S3Server, s3_proxy: FaultProxy, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Done]:
    folder = tmp_path_factory.mktemp("run")
    lake = Lake(f"{s3_server.make_bucket(bucket_of(request.param))}/{PREFIX}")
    bodies = bodies_of(request.param)
    half = len(bodies) // 2
    with SqsEmulator() as queue:
        variables = variables_of(queue, s3_proxy, MG_LAKE_URI=lake.uri)
        published = 0
        s3_proxy.seen()
        # The first in a process of its own, as a person starts it; the second without the seconds of its imports.
        for start, part in ((process, bodies[:half]), (command, bodies[half:])):
            published += len(queue.publish(part, duplicates=0.05, seed=7))
            ran = start(folder, "run", **variables)
            assert ran.returncode == 0, ran.stdout + ran.stderr
        status = command(folder, "status", **variables)
        assert status.returncode == 0, status.stderr
        left = queue.depth()
        with set_environment(environment(folder, **variables)):
            yield Done(lake, queue, bodies, published, left, status.stdout, s3_proxy.seen())


def bucket_of(size: str) -> str:
    return f"pipeline-{size}"


def read(lake: Lake, layer: str, name: str) -> pl.DataFrame:
    return pl.read_delta(f"{lake.root}/{layer}/{name}", storage_options=lake.storage_options())


@pytest.fixture(scope="module")
def local(done: Done, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """The same messages on this machine's disk, and gold in a single build over all of them."""
    lake = Lake(str(tmp_path_factory.mktemp("lake")))
    for (batch_id,), rows in read(done.lake, "bronze", "event_feed").group_by("batch_id"):
        append_batch(lake, rows, str(batch_id))
    flatten_new(lake)
    built = engine.build(lake, settings(lake), tests=())
    assert built.ok
    return lake


def test_every_message_is_in_bronze_once_and_out_of_the_queue(done: Done) -> None:
    bronze = read(done.lake, "bronze", "event_feed")
    assert (bronze.height, bronze["message_id"].n_unique(), done.left) == (done.published, done.published, 0)
    assert set(bronze["body"]) == set(done.bodies)


def test_silver_has_the_rows_of_a_local_lake(done: Done, local: Lake) -> None:
    """Which of two copies is kept depends on which was received first, and that is the same in both: so is every column."""
    total = 0
    for name in silver_tables():
        if local.open("silver", name) is None:
            assert done.lake.open("silver", name) is None, name
            continue
        on_disk = read(local, "silver", name).sort("message_id", "item_index")
        assert read(done.lake, "silver", name).sort("message_id", "item_index").equals(on_disk), name
        total += on_disk.height
    assert total >= len(done.bodies)


def test_gold_built_in_two_increments_has_the_rows_of_a_local_lake(done: Done, local: Lake) -> None:
    for name in DERIVED:
        assert rows_of(done.lake, name) == rows_of(local, name), name
    assert len(rows_of(local, "job_metrics")) > 1


def test_status_names_the_lake_and_its_rows(done: Done) -> None:
    said = " ".join(done.status.split())
    assert f"Lake {done.lake.root}" in said
    assert f"bronze event_feed {done.published:,} " in said
    assert "Queue: 0 messages wait, 0 are in flight" in said


def test_duckdb_and_polars_read_the_same(done: Done) -> None:
    with duck.connect(done.lake) as connection:
        address = text(done.lake.uri_of("gold", "job_metrics"))
        query = f"select request_id, channel, accepted from delta_scan({address}) order by all"
        by_duckdb = connection.execute(query).fetchall()
    scanned = pl.scan_delta(done.lake.uri_of("gold", "job_metrics"), storage_options=done.lake.storage_options())
    by_polars = scanned.select("request_id", "channel", "accepted").collect().rows()
    assert len(by_duckdb) > 0
    assert by_duckdb == sorted(by_polars)


# From here on the lake is another.


def large_bodies() -> list[str]:
    """So much that does not compress that it is uploaded in parts."""
    return [f"<ActivityItems><!-- {os.urandom(500_000).hex()} --></ActivityItems>" for _ in range(15)]


@pytest.fixture(scope="module")
def policy(done: Done) -> Policy:
    return Policy({"BUCKET": done.lake.uri.removeprefix("s3://").partition("/")[0], "PREFIX": PREFIX})


@pytest.fixture(scope="module")
def requests(done: Done, s3_proxy: FaultProxy, tmp_path_factory: pytest.TempPathFactory) -> list[Request]:
    """All that the project asks of S3: ingests, builds of gold, what the commands and analysts read, and the vacuum of maintenance."""
    s3_proxy.seen()
    books = command(tmp_path_factory.mktemp("reconcile"), "reconcile", **variables_of(done.queue, s3_proxy, MG_LAKE_URI=done.lake.uri))
    assert books.returncode == 0, books.stdout + books.stderr
    done.queue.publish(large_bodies())
    drain(EventQueue(done.queue.client(), done.queue.queue_url), done.lake, Settings(wait_seconds=0))
    read_as_analysts_do(done.lake)
    maintain(done.lake)
    fail_in_an_upload(done.lake, s3_proxy)
    return [*done.requests, *s3_proxy.seen()]


def read_as_analysts_do(lake: Lake) -> None:
    address = lake.uri_of("gold", "job_metrics")
    with duck.connect(lake) as connection:
        (by_duckdb,) = connection.execute(f"select count(*) from delta_scan({text(address)})").fetchall()
    assert by_duckdb == (pl.scan_delta(address, storage_options=lake.storage_options()).collect().height,)
    assert by_duckdb[0] > 0


def maintain(lake: Lake) -> None:
    """What a maintenance job does: small files are brought together, and those that no version needs any more are deleted."""
    compacted = lake.ensure(EVENT_FEED).optimize.compact()
    assert compacted["numFilesRemoved"] > 1
    assert lake.ensure(EVENT_FEED).vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)


def fail_in_an_upload(lake: Lake, s3_proxy: FaultProxy) -> None:
    """The parts that were sent stay: delta-rs (1.6.6) does not end an upload that it began, so there is no right to."""
    rows = batch({f"m{number}": body for number, body in enumerate(large_bodies())}, batch_id="refused")
    with s3_proxy.rules(Rule(fault="error_before", status=403, method="PUT", key=r"\.parquet$")), pytest.raises(PermanentError):
        append_batch(lake, rows, "refused")


def test_it_allows_all_that_is_asked_of_s3(requests: list[Request], policy: Policy) -> None:
    refused = {right for request in requests for right in rights_of(request) if not policy.allowing(right)}
    assert refused == set()
    assert any("uploads" in request.query for request in requests)
    assert any(request.status == 404 and request.path.endswith("_last_checkpoint") for request in requests)


def test_it_allows_nothing_of_s3_that_is_not_needed(requests: list[Request], policy: Policy) -> None:
    """No action and no statement: `s3:DeleteObject` is for the vacuum alone."""
    rights = {right for request in requests for right in rights_of(request)}
    assert {right.action for right in rights} == policy.actions("s3")
    assert {statement for right in rights for statement in policy.allowing(right)} == policy.ids - {"ReadTheEventFeed"}
    assert {right.resource.rpartition("/")[2].rpartition(".")[2] for right in rights if right.action == "s3:DeleteObject"} == {"parquet"}


@pytest.fixture
def queue() -> Iterator[SqsEmulator]:
    with SqsEmulator() as embedded:
        embedded.publish(list(samples().values())[:3])
        yield embedded


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        pytest.param(
            {"MG_LAKE_URI": "s3://nobody-made-this/lake"},
            "Error: bronze/event_feed in the lake s3://nobody-made-this/lake cannot be reached: its bucket does not exist. "
            "Create it or correct MG_LAKE_URI.",
            id="bucket-missing",
        ),
        pytest.param(
            {"AWS_SECRET_ACCESS_KEY": "not-the-secret"},
            "Error: bronze/event_feed in the lake s3://wrong-use/lake cannot be written or read: access was refused. "
            "Check MG_LAKE_URI and the rights or AWS credentials behind it.",
            id="credentials-refused",
        ),
        pytest.param(
            {"AWS_ENDPOINT_URL_S3": NOWHERE},
            "Error: bronze/event_feed in the lake s3://wrong-use/lake cannot be reached: its store does not answer. "
            "Check the network and AWS_ENDPOINT_URL_S3.",
            id="endpoint-unreachable",
        ),
        pytest.param(
            {"MG_PII_KEY": ""},
            "Error: MG_PII_KEY is not set, and the lake s3://wrong-use/lake is not a local folder: set it to a long random text and "
            "keep it, for the recipient keys in gold depend on it.",
            id="no-key",
        ),
    ],
)
def test_wrong_use_is_one_sentence_and_leaves_the_queue_untouched(
    s3_server: S3Server, queue: SqsEmulator, tmp_path: Path, wrong: dict[str, str], expected: str
) -> None:
    if "wrong-use" not in {bucket["Name"] for bucket in s3_server.client().list_buckets()["Buckets"]}:
        s3_server.make_bucket("wrong-use")
    variables = variables_of(queue, s3_server, MG_LAKE_URI="s3://wrong-use/lake") | wrong
    assert sentence(command(tmp_path, "run", **variables)) == expected
    # Not even received and given back: each receive counts towards the dead-letter queue.
    (received,) = queue.client().receive_message(
        QueueUrl=queue.queue_url, MaxNumberOfMessages=1, VisibilityTimeout=0, MessageSystemAttributeNames=["All"]
    )["Messages"]
    assert queue.depth() == 3
    assert received["Attributes"]["ApproximateReceiveCount"] == "1"
