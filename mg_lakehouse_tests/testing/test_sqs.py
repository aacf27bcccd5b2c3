"""The SQS emulator over a real socket."""

from __future__ import annotations

import hashlib
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import boto3
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mg_lakehouse.errors import ConfigurationError
from mg_lakehouse.testing.feed import FeedPlan, generate
from mg_lakehouse.testing.feed.trickle import trickle
from mg_lakehouse.testing.sqs import SqsEmulator

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient


@pytest.fixture(scope="module")
def shared() -> Iterator[SqsEmulator]:
    with SqsEmulator() as queue:
        yield queue


@pytest.fixture(scope="module")
def client(shared: SqsEmulator) -> SQSClient:
    return shared.client()


def _received(queue: SqsEmulator) -> list[str]:
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
    options: Any = {"QueueUrl": environment["MG_QUEUE_URL"], "MaxNumberOfMessages": 10, "VisibilityTimeout": 3_600}
    while found := client.receive_message(**options).get("Messages", []):
        bodies += [message["Body"] for message in found]
    return bodies


def test_what_is_published_is_received_as_it_was() -> None:
    """Bundles of many items are the point: moto wrote its own request id over all between the first and the last of theirs."""
    bodies = [bundle.body for bundle in generate(FeedPlan(events=3_000)).bundles]
    with SqsEmulator() as queue:
        assert len(set(queue.publish(bodies))) == len(bodies)
        assert queue.depth() == len(bodies)
        assert Counter(_received(queue)) == Counter(bodies)
        assert queue.depth() == len(bodies)  # received, not deleted: still there, out of sight


@given(st.lists(st.text(min_size=1), min_size=10, max_size=10))
@settings(max_examples=30)
def test_any_text_is_received_as_it_was(shared: SqsEmulator, client: SQSClient, bodies: list[str]) -> None:
    """Characters that SQS would refuse among them: what a sender is not allowed to send, a test may want to."""
    ids = shared.publish(bodies)
    messages = client.receive_message(QueueUrl=shared.queue_url, MaxNumberOfMessages=10)["Messages"]
    assert [(message["MessageId"], message["Body"]) for message in messages] == list(zip(ids, bodies, strict=True))
    assert [message["MD5OfBody"] for message in messages] == [hashlib.md5(body.encode()).hexdigest() for body in bodies]


def test_duplicates_are_sent_a_second_time_and_progress_counts_them() -> None:
    bodies = [f"<ActivityItems><!-- {index} --></ActivityItems>" for index in range(40)]
    seen: list[int] = []
    with SqsEmulator() as queue:
        sent = len(queue.publish(bodies, duplicates=0.5, progress=seen.append))
        counts = Counter(_received(queue))
    assert set(counts) == set(bodies)
    assert set(counts.values()) == {1, 2}
    assert sent == sum(counts.values()) == seen[-1]
    assert seen == sorted(seen)


def test_large_bodies_come_in_one_answer() -> None:
    """Ten of 100 KiB are 1,000 KiB, and a longer one than SQS takes comes as well."""
    bodies = [f"<ActivityItems><!-- {index} {'x' * 100 * 1024} --></ActivityItems>" for index in range(10)]
    bodies.append("ä" * 2**20)
    with SqsEmulator() as queue:
        queue.publish(bodies)
        assert sorted(_received(queue)) == sorted(bodies)


def test_two_queues_of_one_process_do_not_see_each_others_messages() -> None:
    with SqsEmulator() as one, SqsEmulator() as other:
        one.publish(["<ActivityItems/>"])
        assert (one.depth(), other.depth()) == (1, 0)


def test_the_server_is_gone_after_the_block_and_the_queue_says_so() -> None:
    with SqsEmulator() as queue:
        address = urlsplit(queue.endpoint_url)
    assert address.hostname == "127.0.0.1"
    assert address.port is not None
    assert not _answers(address.hostname, address.port)
    for use in (queue.depth, queue.client, lambda: queue.publish(["<ActivityItems/>"])):
        with pytest.raises(ConfigurationError, match="closed"):
            use()


def test_the_server_answers_at_no_other_address_of_the_machine(shared: SqsEmulator) -> None:
    """All of 127.0.0.0/8 is this machine, where a server is not bound to one address of it."""
    port = urlsplit(shared.endpoint_url).port
    assert port is not None
    assert _answers("127.0.0.1", port)
    assert not _answers("127.0.0.2", port)


def _answers(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(2)
        return probe.connect_ex((host, port)) == 0


INTERRUPTED: Final = """
import contextlib, threading
from mg_lakehouse.testing.sqs import SqsEmulator

def poll(client, url):
    with contextlib.suppress(Exception):
        client.receive_message(QueueUrl=url, WaitTimeSeconds=20)

try:
    with SqsEmulator() as sqs:
        pollers = [threading.Thread(target=poll, args=(sqs.client(), sqs.queue_url)) for _ in range(3)]
        for poller in pollers:
            poller.start()
        sqs.wait_for("ReceiveMessage", 3)
        print(sqs.endpoint_url, flush=True)
        threading.Event().wait()
except KeyboardInterrupt:
    for poller in pollers:
        poller.join()
    print("ended", [thread.name for thread in threading.enumerate()])
"""


def test_an_interrupt_ends_it_cleanly_while_clients_poll() -> None:
    """With Python's developer mode, which tells of tasks and sockets that nobody closed."""
    command = [sys.executable, "-X", "dev", "-W", "ignore::DeprecationWarning", "-c", INTERRUPTED]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        address = urlsplit(process.stdout.readline().strip())
        process.send_signal(signal.SIGINT)
        try:
            said, complained = process.communicate(timeout=120)
        finally:
            process.kill()
    assert (said, complained, process.returncode) == ("ended ['MainThread']\n", "", 0)
    assert not _answers("127.0.0.1", address.port or 0)


def test_requests_are_not_logged(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
    with caplog.at_level(logging.INFO), SqsEmulator() as queue:
        queue.publish(["<ActivityItems/>"])
        assert _received(queue) == ["<ActivityItems/>"]
    assert [record for record in caplog.records if not record.name.startswith("boto")] == []
    assert capfd.readouterr().err == ""


def test_another_process_reads_the_queue_with_the_environment_alone() -> None:
    """Past a proxy of the environment as well, which has an exception already."""
    program = (
        "import os, boto3\n"
        "client = boto3.client('sqs')\n"
        "print(os.environ['no_proxy'], client.receive_message(QueueUrl=os.environ['MG_QUEUE_URL'])['Messages'][0]['Body'])\n"
    )
    with pytest.MonkeyPatch.context() as patch, SqsEmulator() as queue:
        queue.publish(["<ActivityItems/>"])
        patch.setenv("http_proxy", "http://127.0.0.1:1")
        patch.setenv("no_proxy", "example.org")
        environment = {**os.environ, **queue.environment}
        done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "example.org,127.0.0.1 <ActivityItems/>"


def test_calls_at_once_undo_nothing_of_each_other() -> None:
    """Six receive and delete at once; moto let two of them have the same message, and brought deleted ones back."""
    bodies = [f"<ActivityItems><!-- {index} --></ActivityItems>" for index in range(300)]
    received: Counter[str] = Counter()

    def consume(queue: SqsEmulator) -> None:
        client = queue.client()
        while found := client.receive_message(QueueUrl=queue.queue_url, MaxNumberOfMessages=10, WaitTimeSeconds=1).get("Messages", []):
            received.update(message["Body"] for message in found)
            entries = [{"Id": str(number), "ReceiptHandle": message["ReceiptHandle"]} for number, message in enumerate(found)]
            client.delete_message_batch(QueueUrl=queue.queue_url, Entries=entries)  # type: ignore[arg-type]

    with _threads_that_change_often(), SqsEmulator() as queue:
        queue.publish(bodies)
        with ThreadPoolExecutor(6) as pool:
            list(pool.map(consume, [queue] * 6))
        left = queue.depth()
    assert received == Counter(bodies)
    assert left == 0


def test_senders_and_receivers_at_once_lose_nothing_and_double_nothing() -> None:
    """Two send over the network and two publish, while four receive until all is there."""
    bodies = [[f"<ActivityItems><!-- {sender} {index} --></ActivityItems>" for index in range(100)] for sender in range(4)]
    received: Counter[str] = Counter()
    everything = sum(map(len, bodies))

    def send(sender: int) -> None:
        client = queue.client()
        for first in range(0, 100, 10):
            batch: Any = [{"Id": str(number), "MessageBody": body} for number, body in enumerate(bodies[sender][first : first + 10])]
            assert "Failed" not in client.send_message_batch(QueueUrl=queue.queue_url, Entries=batch)

    def consume() -> None:
        client = queue.client()
        while received.total() < everything:
            found = client.receive_message(QueueUrl=queue.queue_url, MaxNumberOfMessages=10, WaitTimeSeconds=1).get("Messages", [])
            for message in found:
                client.delete_message(QueueUrl=queue.queue_url, ReceiptHandle=message["ReceiptHandle"])
            with counting:
                received.update(message["Body"] for message in found)

    counting = threading.Lock()
    with _threads_that_change_often(), SqsEmulator() as queue, ThreadPoolExecutor(8) as pool:
        work: list[Future[Any]] = [pool.submit(consume) for _ in range(4)]
        work += [pool.submit(send, sender) for sender in (0, 1)]
        work += [pool.submit(queue.publish, bodies[sender]) for sender in (2, 3)]
        for one in work:
            one.result()
        left = queue.depth()
    assert received == Counter(body for sent in bodies for body in sent)
    assert left == 0


@contextmanager
def _threads_that_change_often() -> Iterator[None]:
    """Threads are put off far more often, as they are on a busy machine."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)


def test_a_trickle_goes_on_until_it_is_told_to_stop() -> None:
    stop = threading.Event()

    def progress(sent: int) -> None:
        if sent == 5:
            stop.set()

    with SqsEmulator() as queue:
        assert trickle(queue, stop, bundles_a_minute=60_000, events_a_round=60, progress=progress) == 5
        bodies = _received(queue)
    assert len(bodies) == 5
