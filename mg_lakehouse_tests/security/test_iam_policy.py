"""The policy in `deploy/` allows what the code calls, and nothing else. What is asked of S3 is looked at end to end, with the lake on S3."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import Any, Final

import pytest

from mg_lakehouse.bronze.event_feed import drain
from mg_lakehouse.lake.failpoints import Failpoint
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.settings import Settings
from mg_lakehouse.sources.heartbeat import Heartbeat
from mg_lakehouse.sources.sqs import EventQueue
from mg_lakehouse.testing.sqs import SqsEmulator
from mg_lakehouse_tests.faults.scenarios import Died, at, die
from mg_lakehouse_tests.security.iam import Policy, Right

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


def test_keys_of_kms_are_used_through_their_service_alone_and_the_queues_only_to_decrypt() -> None:
    """SQS developer guide, "Key management": a consumer needs `kms:Decrypt`. S3 user guide, "Using SSE-KMS": a reader needs it, a writer `kms:GenerateDataKey`,
    and who uploads in parts both."""
    policy = Policy({}, "iam-policy-kms.json")
    queue, bucket = (f"arn:aws:kms:REGION:ACCOUNT:key/KEY-OF-{name}" for name in ("QUEUE", "BUCKET"))
    sqs, s3 = (f"{service}.REGION.amazonaws.com" for service in ("sqs", "s3"))
    asked = [
        Right(action, key, via=via)
        for action in ("kms:Decrypt", "kms:GenerateDataKey")
        for key in (queue, bucket)
        for via in (sqs, s3, None)
    ]
    assert {right for right in asked if policy.allowing(right)} == {
        Right("kms:Decrypt", queue, via=sqs),
        Right("kms:Decrypt", bucket, via=s3),
        Right("kms:GenerateDataKey", bucket, via=s3),
    }
    assert policy.actions("kms") == {"kms:Decrypt", "kms:GenerateDataKey"}
    assert policy.actions("sqs") | policy.actions("s3") == set()
