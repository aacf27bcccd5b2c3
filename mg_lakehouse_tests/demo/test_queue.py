"""The embedded queue, over a real socket."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import boto3
import pytest

from mg_lakehouse.errors import ConfigurationError
from mg_lakehouse.testing.feed.feed import FeedPlan, generate
from mg_lakehouse.testing.queue import EmbeddedQueue, trickle


def _received(queue: EmbeddedQueue) -> list[str]:
    """Every body in the queue, by a client made from the environment that the queue gives."""
    environment = queue.environment
    client = boto3.session.Session().client(
        "sqs",
        endpoint_url=environment["AWS_ENDPOINT_URL"],
        region_name=environment["AWS_REGION"],
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
    )
    bodies: list[str] = []
    while found := client.receive_message(QueueUrl=environment["MG_QUEUE_URL"], MaxNumberOfMessages=10).get("Messages", []):
        bodies += [message["Body"] for message in found]
    return bodies


def test_what_is_published_is_received_as_it_was() -> None:
    """Bundles of many items are the point: moto wrote its own request id over all between the first and the last of theirs."""
    bodies = [bundle.body for bundle in generate(FeedPlan(events=3_000)).bundles]
    with EmbeddedQueue() as queue:
        assert queue.publish(bodies) == len(bodies)
        assert queue.depth() == len(bodies)
        assert Counter(_received(queue)) == Counter(bodies)
        assert queue.depth() == len(bodies)  # received, not deleted: still there, out of sight


def test_duplicates_are_sent_a_second_time_and_progress_counts_them() -> None:
    bodies = [f"<ActivityItems><!-- {index} --></ActivityItems>" for index in range(40)]
    seen: list[int] = []
    with EmbeddedQueue() as queue:
        sent = queue.publish(bodies, duplicates=0.5, progress=seen.append)
        counts = Counter(_received(queue))
    assert set(counts) == set(bodies)
    assert set(counts.values()) == {1, 2}
    assert sent == sum(counts.values()) == seen[-1]
    assert seen == sorted(seen)


def test_large_bodies_are_spread_over_batches() -> None:
    """Ten of 100 KiB are 1,000 KiB: past the 256 KiB that a batch is kept to."""
    bodies = [f"<ActivityItems><!-- {index} {'x' * 100 * 1024} --></ActivityItems>" for index in range(10)]
    with EmbeddedQueue() as queue:
        queue.publish(bodies)
        assert sorted(_received(queue)) == sorted(bodies)


def test_two_queues_of_one_process_do_not_see_each_others_messages() -> None:
    with EmbeddedQueue() as one, EmbeddedQueue() as other:
        one.publish(["<ActivityItems/>"])
        assert (one.depth(), other.depth()) == (1, 0)


def test_the_server_is_gone_after_the_block_and_the_queue_says_so() -> None:
    with EmbeddedQueue() as queue:
        address = urlsplit(queue.endpoint_url)
    assert address.hostname == "127.0.0.1"
    assert address.port is not None
    with socket.socket() as probe:
        probe.settimeout(2)
        assert probe.connect_ex((address.hostname, address.port)) != 0
    with pytest.raises(ConfigurationError, match="closed"):
        queue.depth()


def test_requests_are_not_logged(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
    with caplog.at_level(logging.INFO), EmbeddedQueue() as queue:
        queue.publish(["<ActivityItems/>"])
    assert [record for record in caplog.records if record.name == "werkzeug"] == []
    assert capfd.readouterr().err == ""


def test_another_process_reads_the_queue_with_the_environment_alone() -> None:
    program = (
        "import os, boto3\n"
        "client = boto3.client('sqs')\n"
        "print(client.receive_message(QueueUrl=os.environ['MG_QUEUE_URL'])['Messages'][0]['Body'])\n"
    )
    with EmbeddedQueue() as queue:
        queue.publish(["<ActivityItems/>"])
        environment = {**os.environ, **queue.environment, "NO_PROXY": "127.0.0.1"}
        done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "<ActivityItems/>"


def test_calls_at_once_undo_nothing_of_each_other() -> None:
    """Six receive and delete at once; moto let two of them have the same message, and brought deleted ones back."""
    bodies = [f"<ActivityItems><!-- {index} --></ActivityItems>" for index in range(300)]
    received: Counter[str] = Counter()

    def consume(queue: EmbeddedQueue) -> None:
        client = queue.client()
        while found := client.receive_message(QueueUrl=queue.queue_url, MaxNumberOfMessages=10, WaitTimeSeconds=1).get("Messages", []):
            received.update(message["Body"] for message in found)
            entries = [{"Id": str(number), "ReceiptHandle": message["ReceiptHandle"]} for number, message in enumerate(found)]
            client.delete_message_batch(QueueUrl=queue.queue_url, Entries=entries)  # type: ignore[arg-type]

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)  # threads are put off far more often, as they are on a busy machine
    try:
        with EmbeddedQueue() as queue:
            queue.publish(bodies)
            with ThreadPoolExecutor(6) as pool:
                list(pool.map(consume, [queue] * 6))
            left = queue.depth()
    finally:
        sys.setswitchinterval(interval)
    assert received == Counter(bodies)
    assert left == 0


def test_a_trickle_goes_on_until_it_is_told_to_stop() -> None:
    stop = threading.Event()

    def progress(sent: int) -> None:
        if sent == 5:
            stop.set()

    with EmbeddedQueue() as queue:
        assert trickle(queue, stop, bundles_a_minute=60_000, events_a_round=60, progress=progress) == 5
        bodies = _received(queue)
    assert len(bodies) == 5
