"""Each fault of the SQS emulator does what it says, seen through boto3 with its retries off; and time, which moto has not."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError, ConnectionClosedError

from mg_lakehouse.testing.sqs import Fault, SqsEmulator, VirtualClock

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def sqs(clock: VirtualClock) -> Iterator[SqsEmulator]:
    with SqsEmulator(clock=clock, visibility_seconds=30) as emulator:
        yield emulator


@pytest.fixture
def client(sqs: SqsEmulator) -> SQSClient:
    return sqs.client()


def receive(sqs: SqsEmulator, client: SQSClient, **options: Any) -> list[Any]:
    return client.receive_message(QueueUrl=sqs.queue_url, **{"MaxNumberOfMessages": 10, **options}).get("Messages", [])


def delete(sqs: SqsEmulator, client: SQSClient, messages: list[Any]) -> list[Any]:
    """Delete in one call; the entries that failed."""
    entries: Any = [{"Id": str(number), "ReceiptHandle": message["ReceiptHandle"]} for number, message in enumerate(messages)]
    return client.delete_message_batch(QueueUrl=sqs.queue_url, Entries=entries).get("Failed", [])


def test_a_lost_answer_of_a_receive_hides_messages_that_nobody_has(sqs: SqsEmulator, client: SQSClient, clock: VirtualClock) -> None:
    sqs.publish(["a", "b"])
    rule = sqs.faults.add(Fault.ANSWER_LOST, "ReceiveMessage", count=1)
    with pytest.raises(ConnectionClosedError):
        receive(sqs, client)
    assert (rule.fired, sqs.queue.counts()) == (1, (0, 2, 0))
    assert receive(sqs, client) == []
    clock.advance(30)
    assert sorted(message["Body"] for message in receive(sqs, client)) == ["a", "b"]


def test_a_lost_answer_of_a_delete_has_deleted(sqs: SqsEmulator, client: SQSClient) -> None:
    sqs.publish(["a"])
    messages = receive(sqs, client)
    sqs.faults.add(Fault.ANSWER_LOST, "DeleteMessageBatch", count=1)
    with pytest.raises(ConnectionClosedError):
        delete(sqs, client, messages)
    assert sqs.queue.message_ids() == []
    assert delete(sqs, client, messages) == []


def test_a_dropped_connection_has_changed_nothing(sqs: SqsEmulator, client: SQSClient) -> None:
    sqs.publish(["a"])
    rule = sqs.faults.add(Fault.DROPPED, count=2)
    for _ in range(2):
        with pytest.raises(ConnectionClosedError):
            receive(sqs, client)
    assert (rule.fired, sqs.queue.counts()) == (2, (1, 0, 0))
    assert len(receive(sqs, client)) == 1


@pytest.mark.parametrize(
    ("fault", "code", "status"),
    [
        (Fault.THROTTLED, "ThrottlingException", 400),
        (Fault.REQUEST_THROTTLED, "RequestThrottled", 503),
        (Fault.INTERNAL_ERROR, "InternalFailure", 500),
    ],
)
def test_an_error_of_the_service_has_changed_nothing(sqs: SqsEmulator, client: SQSClient, fault: Fault, code: str, status: int) -> None:
    sqs.publish(["a"])
    sqs.faults.add(fault, "ReceiveMessage", count=1)
    with pytest.raises(ClientError) as raised:
        receive(sqs, client)
    assert (raised.value.response["Error"]["Code"], raised.value.response["ResponseMetadata"]["HTTPStatusCode"]) == (code, status)
    assert sqs.queue.counts() == (1, 0, 0)
    assert len(receive(sqs, client)) == 1


def test_boto3_tries_again_after_each_of_them(sqs: SqsEmulator) -> None:
    sqs.publish(["a"])
    rules = [sqs.faults.add(fault, count=1) for fault in (Fault.DROPPED, Fault.THROTTLED, Fault.INTERNAL_ERROR)]
    assert len(receive(sqs, sqs.client(attempts=4))) == 1
    assert [rule.fired for rule in rules] == [1, 1, 1]
    assert sqs.calls == {"ReceiveMessage": 4}


def test_some_entries_of_a_batch_fail_by_the_servers_fault(sqs: SqsEmulator, client: SQSClient) -> None:
    sqs.publish(str(number) for number in range(10))
    messages = receive(sqs, client)
    sqs.faults.add(Fault.ENTRY_FAILED, "DeleteMessageBatch", count=3, skip=2)
    failed = delete(sqs, client, messages)
    assert [(entry["Id"], entry["SenderFault"], entry["Code"]) for entry in failed] == [(one, False, "InternalError") for one in "234"]
    assert set(sqs.queue.message_ids()) == {messages[number]["MessageId"] for number in (2, 3, 4)}
    assert delete(sqs, client, [messages[number] for number in (2, 3, 4)]) == []


def test_a_deleted_message_comes_again(sqs: SqsEmulator, client: SQSClient) -> None:
    sqs.publish(["a", "b"])
    sqs.faults.add(Fault.DELETED_RETURNS, count=1)
    messages = receive(sqs, client, AttributeNames=["All"])
    assert delete(sqs, client, messages) == []
    (again,) = receive(sqs, client, AttributeNames=["All"])
    assert again["MessageId"] == messages[0]["MessageId"]
    assert again["Attributes"]["SentTimestamp"] == messages[0]["Attributes"]["SentTimestamp"]
    assert again["Attributes"]["ApproximateReceiveCount"] == "2"


def test_two_hold_the_same_message_at_once(sqs: SqsEmulator, client: SQSClient) -> None:
    sqs.publish(["a"])
    sqs.faults.add(Fault.DELIVERED_TWICE, count=1)
    (first,), (second,) = receive(sqs, client), receive(sqs, client)
    assert first["MessageId"] == second["MessageId"]
    assert delete(sqs, client, [first]) == []
    assert sqs.queue.counts() == (0, 1, 0)
    delete(sqs, client, [second])
    assert sqs.queue.message_ids() == []


def test_a_receive_brings_a_message_twice(sqs: SqsEmulator, client: SQSClient) -> None:
    sqs.publish(["a"])
    sqs.faults.add(Fault.REPEATED, count=1)
    first, second = receive(sqs, client)
    assert first["MessageId"] == second["MessageId"]
    assert first["ReceiptHandle"] != second["ReceiptHandle"]


def test_a_checksum_is_wrong_once(sqs: SqsEmulator, client: SQSClient) -> None:
    sqs.publish(["a"])
    sqs.faults.add(Fault.WRONG_MD5, count=1)
    (wrong,) = receive(sqs, client, VisibilityTimeout=0)
    (right,) = receive(sqs, client)
    assert (wrong["Body"], wrong["MD5OfBody"]) == ("a", "0" * 32)
    assert right["MD5OfBody"] == "0cc175b9c0f1b6a831c399e269772661"


def test_a_receive_finds_nothing_where_something_waits(sqs: SqsEmulator, client: SQSClient) -> None:
    sqs.publish(["a"])
    sqs.faults.add(Fault.EMPTY, count=1)
    assert receive(sqs, client) == []
    assert len(receive(sqs, client)) == 1


def test_a_slow_answer_does_not_hold_up_others(sqs: SqsEmulator) -> None:
    """The slow call would take an hour, so that another's answer shows that it did not wait."""
    sqs.publish(["a"])
    sqs.faults.add(Fault.SLOW, "ReceiveMessage", count=1, seconds=3600)
    threading.Thread(target=lambda: abandoned(sqs), daemon=True).start()
    sqs.wait_for("ReceiveMessage")
    assert len(receive(sqs, sqs.client())) == 1


def abandoned(sqs: SqsEmulator) -> None:
    """A receive that the end of the server cuts off."""
    with contextlib.suppress(BotoCoreError):
        receive(sqs, sqs.client())


def test_chance_is_the_same_for_the_same_seed() -> None:
    def struck(seed: int) -> list[bool]:
        with SqsEmulator() as sqs:
            sqs.faults.add(Fault.EMPTY, probability=0.3, seed=seed)
            return [sqs.faults.strike(Fault.EMPTY, "ReceiveMessage") is not None for _ in range(200)]

    assert struck(1) == struck(1) != struck(2)
    assert 30 <= sum(struck(1)) <= 90


def test_faults_stop_when_they_are_taken_back(sqs: SqsEmulator, client: SQSClient) -> None:
    sqs.publish(["a"])
    sqs.faults.add(Fault.EMPTY)
    assert receive(sqs, client) == []
    sqs.faults.clear()
    assert len(receive(sqs, client)) == 1


def test_a_message_returns_when_its_time_is_over_and_its_old_handle_is_worth_nothing(
    sqs: SqsEmulator, client: SQSClient, clock: VirtualClock
) -> None:
    sqs.publish(["a"])
    (first,) = receive(sqs, client)
    clock.advance(29)
    assert receive(sqs, client) == []
    clock.advance(1)
    (second,) = receive(sqs, client)
    assert delete(sqs, client, [first]) == []
    assert sqs.queue.counts() == (0, 1, 0)
    assert delete(sqs, client, [second]) == []
    assert sqs.queue.counts() == (0, 0, 0)


def test_an_expired_handle_is_refused_where_a_queue_does_so(sqs: SqsEmulator, client: SQSClient, clock: VirtualClock) -> None:
    sqs.publish(["a"])
    sqs.queue.refuse_expired_handles = True
    messages = receive(sqs, client)
    clock.advance(31)
    (failed,) = delete(sqs, client, messages)
    assert (failed["Code"], failed["SenderFault"]) == ("InvalidParameterValue", True)
    assert "expired" in failed["Message"]


def test_a_message_is_extended_to_twelve_hours_and_no_further(sqs: SqsEmulator, client: SQSClient, clock: VirtualClock) -> None:
    sqs.publish(["a"])
    handle = receive(sqs, client, VisibilityTimeout=43_200)[0]["ReceiptHandle"]
    clock.advance(43_000)
    client.change_message_visibility(QueueUrl=sqs.queue_url, ReceiptHandle=handle, VisibilityTimeout=200)
    with pytest.raises(ClientError, match="beyond the limit"):
        client.change_message_visibility(QueueUrl=sqs.queue_url, ReceiptHandle=handle, VisibilityTimeout=201)


def test_the_in_flight_quota_is_an_error_of_short_polling_and_an_empty_answer_of_long(sqs: SqsEmulator, client: SQSClient) -> None:
    sqs.queue.in_flight_limit = 15
    sqs.publish(str(number) for number in range(20))
    held = receive(sqs, client)
    assert len(receive(sqs, client)) == 5
    assert receive(sqs, client, WaitTimeSeconds=1) == []
    with pytest.raises(ClientError) as raised:
        receive(sqs, client)
    assert raised.value.response["Error"]["Code"] == "OverLimit"
    delete(sqs, client, held)
    assert len(receive(sqs, client)) == 5


def test_what_is_too_old_is_gone(sqs: SqsEmulator, client: SQSClient, clock: VirtualClock) -> None:
    sqs.queue.retention_seconds = 3600
    sqs.publish(["old"])
    clock.advance(1800)
    sqs.publish(["young"])
    clock.advance(1800)
    assert [message["Body"] for message in receive(sqs, client)] == ["young"]
    assert sqs.queue.deleted == []


def test_a_delayed_message_appears_in_time(sqs: SqsEmulator, client: SQSClient, clock: VirtualClock) -> None:
    client.send_message(QueueUrl=sqs.queue_url, MessageBody="a", DelaySeconds=60)
    clock.advance(59)
    assert receive(sqs, client) == []
    clock.advance(1)
    assert len(receive(sqs, client)) == 1


def test_messages_come_in_no_order_with_a_seed_and_each_once() -> None:
    def order(seed: int | None) -> list[str]:
        with SqsEmulator(seed=seed, clock=VirtualClock()) as sqs:
            sqs.publish(str(number) for number in range(100))
            client = sqs.client()
            return [message["Body"] for _ in range(10) for message in receive(sqs, client)]

    everything = [str(number) for number in range(100)]
    assert order(None) == everything
    assert order(1) == order(1) != order(2)
    assert sorted(order(1), key=int) == everything


def test_redriven_messages_are_sent_anew(sqs: SqsEmulator, clock: VirtualClock) -> None:
    dead = sqs.account.create("dead-letters")
    sqs.queue.dead_letters, sqs.queue.max_receive_count = dead, 1
    (first,) = sqs.publish(["a"])
    client = sqs.client()
    (received,) = receive(sqs, client, AttributeNames=["All"])
    clock.advance(60)
    assert receive(sqs, client) == []
    assert dead.message_ids() == [first]
    client.start_message_move_task(SourceArn=dead.arn)
    (again,) = receive(sqs, client, AttributeNames=["All"])
    assert again["Body"] == "a"
    assert again["MessageId"] != first
    assert int(again["Attributes"]["SentTimestamp"]) == int(received["Attributes"]["SentTimestamp"]) + 60_000
    assert dead.message_ids() == []


def test_a_long_poll_ends_when_a_message_arrives() -> None:
    with SqsEmulator() as sqs:
        received: list[Any] = []
        receiving = threading.Thread(target=lambda: received.extend(receive(sqs, sqs.client(), WaitTimeSeconds=20)))
        receiving.start()
        sqs.wait_for("ReceiveMessage")
        sqs.publish(["a"])
        receiving.join()
        assert [message["Body"] for message in received] == ["a"]


def test_who_deletes_is_seen_before_it_happens(sqs: SqsEmulator, client: SQSClient) -> None:
    ids = sqs.publish(["a", "b"])
    seen: list[tuple[list[str], int]] = []
    sqs.queue.before_delete = lambda deleting: seen.append((sorted(deleting), len(sqs.queue.message_ids())))
    delete(sqs, client, receive(sqs, client))
    assert seen == [(sorted(ids), 2)]
    assert sorted(sqs.queue.deleted) == sorted(ids)
