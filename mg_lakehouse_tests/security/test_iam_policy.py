"""The policy in `deploy/` allows what the code calls, and nothing else."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import Any, Final

import polars as pl
import pytest

from mg_lakehouse._util.environment import set_environment
from mg_lakehouse.bronze.append import append_batch
from mg_lakehouse.bronze.event_feed import drain
from mg_lakehouse.bronze.tables import EVENT_FEED
from mg_lakehouse.errors import PermanentError
from mg_lakehouse.lake import duck
from mg_lakehouse.lake.failpoints import Failpoint
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.lake.sql import text
from mg_lakehouse.settings import Settings
from mg_lakehouse.sources.heartbeat import Heartbeat
from mg_lakehouse.sources.sqs import EventQueue
from mg_lakehouse.testing.s3 import S3Server
from mg_lakehouse.testing.s3_proxy import FaultProxy, Request, Rule
from mg_lakehouse.testing.samples import samples
from mg_lakehouse.testing.sqs import SqsEmulator
from mg_lakehouse_tests.cli.commands import command, environment, process
from mg_lakehouse_tests.faults.scenarios import Died, at, die
from mg_lakehouse_tests.lake.feeds import batch
from mg_lakehouse_tests.security.iam import Policy, Right, rights_of

BUCKET, PREFIX = "least-privilege", "some/prefix"
POLICY: Final = Policy({"BUCKET": BUCKET, "PREFIX": PREFIX})


def test_it_allows_exactly_what_the_code_calls_of_sqs(tmp_path: Path) -> None:
    """Looking, draining, extending, handing back. IAM knows no batch actions: they need the right of the single one."""
    called: set[str] = set()

    def note(params: dict[str, Any], model: Any, **_: Any) -> None:
        called.add(f"sqs:{re.sub('Batch$', '', model.name)}")

    with SqsEmulator() as embedded:
        client = embedded.client()
        client.meta.events.register("before-call.sqs", note)
        queue = EventQueue(client, embedded.queue_url)
        settings = Settings(wait_seconds=0, receivers=1)
        embedded.publish(["<ActivityItems/>"] * 12)
        drain(queue, Lake(str(tmp_path / "lake")), settings, max_messages=5, until_empty=False)
        held = queue.receive(at_most=1, wait_seconds=0, visibility_seconds=30).messages
        heartbeat = Heartbeat(queue, 30)
        heartbeat.hold(held[0].receipt_handle)
        heartbeat._extend()
        with at(Failpoint.COMMIT_DECIDED, die), contextlib.suppress(Died):
            drain(queue, Lake(str(tmp_path / "lake")), settings)
    assert called == POLICY.actions("sqs")


def bodies() -> list[str]:
    """Some samples, and so much that does not compress that it is uploaded in parts."""
    few = [body for name, body in samples().items() if any(kind in name for kind in ("Click", "Delivered", "BouncedMessage"))]
    return [*few, *(f"<ActivityItems><!-- {os.urandom(500_000).hex()} --></ActivityItems>" for _ in range(15))]


@pytest.fixture(scope="module")
def requests(s3_server: S3Server, s3_proxy: FaultProxy, tmp_path_factory: pytest.TempPathFactory) -> list[Request]:
    """All that the project asks of S3: an ingest, a build of gold, what the commands and analysts read, and the vacuum of maintenance."""
    folder = tmp_path_factory.mktemp("run")
    lake = Lake(f"{s3_server.make_bucket(BUCKET)}/{PREFIX}")
    with SqsEmulator(seed=1) as sqs:
        variables = {
            **sqs.environment,
            **s3_proxy.environment,
            "AWS_ENDPOINT_URL_SQS": sqs.endpoint_url,
            "MG_LAKE_URI": lake.uri,
            "MG_PII_KEY": "a key that only tests use",
        }
        s3_proxy.seen()
        sqs.publish(bodies())
        for start, name in ((process, "run"), (command, "status"), (command, "reconcile")):
            done = start(folder, name, **variables)
            assert done.returncode == 0, done.stdout + done.stderr
        sqs.publish(bodies()[:1])
        with set_environment(environment(folder, **variables)):
            drain(EventQueue(sqs.client(), sqs.queue_url), lake, Settings(wait_seconds=0))
            read_as_analysts_do(lake)
            maintain(lake)
            fail_in_an_upload(lake, s3_proxy)
    return s3_proxy.seen()


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
    rows = batch({f"m{number}": body for number, body in enumerate(bodies())}, batch_id="refused")
    with s3_proxy.rules(Rule(fault="error_before", status=403, method="PUT", key=r"\.parquet$")), pytest.raises(PermanentError):
        append_batch(lake, rows, "refused")


@pytest.mark.e2e
def test_it_allows_all_that_is_asked_of_s3(requests: list[Request]) -> None:
    refused = {right for request in requests for right in rights_of(request) if not POLICY.allowing(right)}
    assert refused == set()
    assert any("uploads" in request.query for request in requests)
    assert any(request.status == 404 and request.path.endswith("_last_checkpoint") for request in requests)


@pytest.mark.e2e
def test_it_allows_nothing_of_s3_that_is_not_needed(requests: list[Request]) -> None:
    """No action and no statement: `s3:DeleteObject` is for the vacuum alone."""
    rights = {right for request in requests for right in rights_of(request)}
    assert {right.action for right in rights} == POLICY.actions("s3")
    assert {statement for right in rights for statement in POLICY.allowing(right)} == POLICY.ids - {"ReadTheEventFeed"}
    assert {right.resource.rpartition("/")[2].rpartition(".")[2] for right in rights if right.action == "s3:DeleteObject"} == {"parquet"}


@pytest.mark.parametrize(
    "right",
    [
        Right("s3:GetObject", f"arn:aws:s3:::{BUCKET}/another/prefix/object"),
        Right("s3:PutObject", f"arn:aws:s3:::another-bucket/{PREFIX}/object"),
        Right("s3:DeleteObject", f"arn:aws:s3:::{BUCKET}/{PREFIX}-2/object"),
        Right("s3:ListBucket", f"arn:aws:s3:::{BUCKET}", "another/prefix/"),
        Right("s3:DeleteBucket", f"arn:aws:s3:::{BUCKET}"),
        Right("sqs:PurgeQueue", "arn:aws:sqs:REGION:ACCOUNT:QUEUE"),
    ],
)
def test_it_refuses(right: Right) -> None:
    assert POLICY.allowing(right) == []
