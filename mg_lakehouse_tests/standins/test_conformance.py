"""The stand-in for SQS and moto's server give the same answers to the same calls, and the expected ones are written here.

Where moto departs from SQS's documentation, the case says what moto answers and why that is not SQS's answer.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pytest
from botocore.exceptions import ClientError

from mg_lakehouse.testing.queue import EmbeddedQueue
from mg_lakehouse_tests.standins.sqs import SqsStandIn

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

BODY: Final = '<ActivityItems>ä € 𝄞 &amp; "quoted" \\ <RequestId>1</RequestId></ActivityItems>'
BODY_MD5: Final = hashlib.md5(BODY.encode()).hexdigest()
# The lengths and values by hand: name, type and value of each attribute, each after its length in four bytes.
ATTRIBUTES: Final[dict[str, Any]] = {
    "number": {"DataType": "Number", "StringValue": "7"},
    "origin": {"DataType": "String", "StringValue": "test"},
}
ATTRIBUTES_MD5: Final = hashlib.md5(
    b"\0\0\0\6number\0\0\0\6Number\1\0\0\0\0017" + b"\0\0\0\6origin\0\0\0\6String\1\0\0\0\4test"
).hexdigest()


class Case(NamedTuple):
    """What is done with a queue, what comes out, and what of moto where it is wrong."""

    act: Callable[[SQSClient, str], Any]
    expected: Any
    moto: Any = None
    moto_is_wrong: str = ""


def code_of(call: Callable[..., Any], **options: Any) -> tuple[str, int] | str:
    """Code and HTTP status of the error that a call gives, or "success"."""
    try:
        call(**options)
    except ClientError as error:
        return error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]
    return "success"


def send(client: SQSClient, url: str, *bodies: str) -> None:
    for body in bodies:
        client.send_message(QueueUrl=url, MessageBody=body)


def receive(client: SQSClient, url: str, **options: Any) -> list[Any]:
    return client.receive_message(QueueUrl=url, **{"MaxNumberOfMessages": 10, **options}).get("Messages", [])


def depth(client: SQSClient, url: str) -> tuple[int, int, int]:
    """Visible, in flight and delayed."""
    found = client.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    return (
        int(found["ApproximateNumberOfMessages"]),
        int(found["ApproximateNumberOfMessagesNotVisible"]),
        int(found["ApproximateNumberOfMessagesDelayed"]),
    )


def a_message_comes_as_it_was_sent(client: SQSClient, url: str) -> Any:
    sent = client.send_message(QueueUrl=url, MessageBody=BODY, MessageAttributes=ATTRIBUTES)
    (message,) = receive(client, url, MessageAttributeNames=["All"])
    return (
        sent["MD5OfMessageBody"],
        sent["MD5OfMessageAttributes"],
        message["MessageId"] == sent["MessageId"],
        message["Body"],
        message["MD5OfBody"],
        message["MessageAttributes"],
        message["MD5OfMessageAttributes"],
        "Attributes" in message,
    )


def system_attributes_come_when_asked_for(client: SQSClient, url: str) -> Any:
    send(client, url, "a")
    (first,) = receive(client, url, MessageSystemAttributeNames=["All"], VisibilityTimeout=0)
    (second,) = receive(client, url, MessageSystemAttributeNames=["ApproximateReceiveCount"], VisibilityTimeout=0)
    (third,) = receive(client, url, AttributeNames=["SentTimestamp"])
    wanted = {"SentTimestamp", "ApproximateReceiveCount", "ApproximateFirstReceiveTimestamp", "SenderId"}
    return (
        wanted <= set(first["Attributes"]),
        first["Attributes"]["ApproximateReceiveCount"],
        second["Attributes"],
        list(third["Attributes"]),
        first["Attributes"]["SentTimestamp"] == third["Attributes"]["SentTimestamp"],
    )


def a_received_message_is_hidden_and_each_receive_gives_a_new_handle(client: SQSClient, url: str) -> Any:
    send(client, url, "a")
    (first,) = receive(client, url)
    hidden = receive(client, url), depth(client, url)
    client.change_message_visibility(QueueUrl=url, ReceiptHandle=first["ReceiptHandle"], VisibilityTimeout=0)
    shown = depth(client, url)
    (second,) = receive(client, url)
    return hidden, shown, first["ReceiptHandle"] != second["ReceiptHandle"], first["MessageId"] == second["MessageId"]


def a_delete_removes_and_may_be_repeated(client: SQSClient, url: str) -> Any:
    send(client, url, "a")
    handle = receive(client, url)[0]["ReceiptHandle"]
    outcomes = [code_of(client.delete_message, QueueUrl=url, ReceiptHandle=handle) for _ in range(2)]
    return outcomes, depth(client, url)


def an_old_handle_deletes_nothing_and_says_nothing(client: SQSClient, url: str) -> Any:
    send(client, url, "a")
    old = receive(client, url, VisibilityTimeout=0)[0]["ReceiptHandle"]
    receive(client, url)
    return code_of(client.delete_message, QueueUrl=url, ReceiptHandle=old), depth(client, url)


def a_handle_of_nothing_is_refused(client: SQSClient, url: str) -> Any:
    batch = client.delete_message_batch(QueueUrl=url, Entries=[{"Id": "a", "ReceiptHandle": "no handle"}])
    return (
        code_of(client.delete_message, QueueUrl=url, ReceiptHandle="no handle"),
        code_of(client.change_message_visibility, QueueUrl=url, ReceiptHandle="no handle", VisibilityTimeout=1),
        [(entry["Id"], entry["Code"], entry["SenderFault"]) for entry in batch.get("Failed", [])],
    )


def a_visible_message_cannot_be_extended(client: SQSClient, url: str) -> Any:
    send(client, url, "a")
    handle = receive(client, url, VisibilityTimeout=0)[0]["ReceiptHandle"]
    return code_of(client.change_message_visibility, QueueUrl=url, ReceiptHandle=handle, VisibilityTimeout=10)


def a_deleted_message_cannot_be_extended(client: SQSClient, url: str) -> Any:
    send(client, url, "a")
    handle = receive(client, url)[0]["ReceiptHandle"]
    client.delete_message(QueueUrl=url, ReceiptHandle=handle)
    return code_of(client.change_message_visibility, QueueUrl=url, ReceiptHandle=handle, VisibilityTimeout=10)


def numbers_out_of_range_are_refused(client: SQSClient, url: str) -> Any:
    send(client, url, "a")
    handle = receive(client, url)[0]["ReceiptHandle"]
    return (
        code_of(client.receive_message, QueueUrl=url, MaxNumberOfMessages=11),
        code_of(client.receive_message, QueueUrl=url, MaxNumberOfMessages=0),
        code_of(client.receive_message, QueueUrl=url, WaitTimeSeconds=21),
        code_of(client.change_message_visibility, QueueUrl=url, ReceiptHandle=handle, VisibilityTimeout=43_201),
    )


def a_batch_is_sent_received_and_deleted(client: SQSClient, url: str) -> Any:
    entries: list[Any] = [{"Id": f"n-{number}", "MessageBody": str(number)} for number in range(10)]
    sent = client.send_message_batch(QueueUrl=url, Entries=entries)
    received = receive(client, url)
    deletes: list[Any] = [{"Id": str(number), "ReceiptHandle": one["ReceiptHandle"]} for number, one in enumerate(received)]
    extended: list[Any] = [{**entry, "VisibilityTimeout": 60} for entry in deletes]
    hidden = client.change_message_visibility_batch(QueueUrl=url, Entries=extended)
    deleted = client.delete_message_batch(QueueUrl=url, Entries=deletes)
    return (
        [entry["Id"] for entry in sent["Successful"]],
        sorted(one["Body"] for one in received),
        len(hidden["Successful"]),
        len(deleted["Successful"]),
        [answer.get("Failed", []) for answer in (sent, hidden, deleted)],
        depth(client, url),
    )


def wrong_batches_are_refused_whole(client: SQSClient, url: str) -> Any:
    def sending(*ids: str, body: str = "x") -> Any:
        return code_of(client.send_message_batch, QueueUrl=url, Entries=[{"Id": one, "MessageBody": body} for one in ids])

    return [sending(*map(str, range(11))), sending("a", "a"), sending("a b"), sending(), depth(client, url)]


def wrong_batches_of_deletes_are_refused_whole(client: SQSClient, url: str) -> Any:
    send(client, url, "a")
    handle = receive(client, url)[0]["ReceiptHandle"]

    def deleting(*ids: str) -> Any:
        return code_of(client.delete_message_batch, QueueUrl=url, Entries=[{"Id": one, "ReceiptHandle": handle + one} for one in ids])

    return [deleting(*map(str, range(11))), deleting("a", "a"), deleting(), depth(client, url)]


def the_limit_is_a_mebibyte(client: SQSClient, url: str) -> Any:
    limit = 1_048_576
    half: Any = {"MessageBody": "x" * (limit // 2)}
    return [
        code_of(client.send_message, QueueUrl=url, MessageBody="x" * limit),
        code_of(client.send_message, QueueUrl=url, MessageBody="x" * (limit + 1)),
        code_of(client.send_message_batch, QueueUrl=url, Entries=[{"Id": "a", **half}, {"Id": "b", **half}]),
        code_of(
            client.send_message_batch, QueueUrl=url, Entries=[{"Id": "a", **half}, {"Id": "b", **half}, {"Id": "c", "MessageBody": "x"}]
        ),
        depth(client, url),
    ]


def characters_that_xml_has_not_are_refused(client: SQSClient, url: str) -> Any:
    return [code_of(client.send_message, QueueUrl=url, MessageBody=body) for body in ("a\x00", "a\x0b", "\uffff", "tab\t", "\ud7ff")]


def a_delayed_message_waits(client: SQSClient, url: str) -> Any:
    client.send_message(QueueUrl=url, MessageBody="a", DelaySeconds=900)
    return receive(client, url), depth(client, url)


def a_queue_that_is_not_there(client: SQSClient, url: str) -> Any:
    gone = url + "-gone"
    return [
        code_of(client.receive_message, QueueUrl=gone),
        code_of(client.get_queue_attributes, QueueUrl=gone),
        code_of(client.get_queue_url, QueueName="gone"),
    ]


def a_queue_by_its_name(client: SQSClient, url: str) -> Any:
    name = f"other-{uuid.uuid4().hex[:8]}"
    made = client.create_queue(QueueName=name, Attributes={"VisibilityTimeout": "77"})["QueueUrl"]
    again = client.create_queue(QueueName=name, Attributes={"VisibilityTimeout": "77"})["QueueUrl"]
    other = code_of(client.create_queue, QueueName=name, Attributes={"VisibilityTimeout": "78"})
    client.set_queue_attributes(QueueUrl=made, Attributes={"DelaySeconds": "3"})
    attributes = client.get_queue_attributes(QueueUrl=made, AttributeNames=["VisibilityTimeout", "DelaySeconds"])["Attributes"]
    found = client.list_queues(QueueNamePrefix=name)["QueueUrls"]
    looked_up = client.get_queue_url(QueueName=name)["QueueUrl"]
    client.delete_queue(QueueUrl=made)
    return made == again, other, attributes, found == [made], looked_up == made, code_of(client.get_queue_url, QueueName=name)


def a_purge_empties(client: SQSClient, url: str) -> Any:
    send(client, url, "a", "b")
    receive(client, url, MaxNumberOfMessages=1)
    client.purge_queue(QueueUrl=url)
    return depth(client, url)


def a_message_received_too_often_moves_to_the_dead_letters(client: SQSClient, url: str) -> Any:
    return dead_letters(client, url)[0]


def dead_letters_come_back_as_new_messages(client: SQSClient, url: str) -> Any:
    return dead_letters(client, url)[1]


def dead_letters(client: SQSClient, url: str) -> tuple[Any, Any]:
    """What became of a message on the way to the dead letters, and on the way back."""
    made = client.create_queue(QueueName=f"dead-{uuid.uuid4().hex[:8]}")["QueueUrl"]
    arn = client.get_queue_attributes(QueueUrl=made, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 2})
    client.set_queue_attributes(QueueUrl=url, Attributes={"RedrivePolicy": policy})
    send(client, url, "a")
    received = [[one["MessageId"] for one in receive(client, url, VisibilityTimeout=0)] for _ in range(3)]
    (dead,) = receive(client, made, VisibilityTimeout=0)
    there = received[0] == received[1] == [dead["MessageId"]], received[2], dead["Body"]
    back: Any = code_of(client.start_message_move_task, SourceArn=arn)
    if back == "success":
        (again,) = receive(client, url, AttributeNames=["ApproximateReceiveCount"])
        back = again["Body"], again["MessageId"] == dead["MessageId"], again["Attributes"]["ApproximateReceiveCount"]
    client.delete_queue(QueueUrl=made)
    return there, back


PREFIX: Final = "AWS.SimpleQueueService."
GONE: Final = (f"{PREFIX}NonExistentQueue", 400)

CASES: Final = [
    Case(a_message_comes_as_it_was_sent, (BODY_MD5, ATTRIBUTES_MD5, True, BODY, BODY_MD5, ATTRIBUTES, ATTRIBUTES_MD5, False)),
    Case(system_attributes_come_when_asked_for, (True, "1", {"ApproximateReceiveCount": "2"}, ["SentTimestamp"], True)),
    Case(a_received_message_is_hidden_and_each_receive_gives_a_new_handle, (([], (0, 1, 0)), (1, 0, 0), True, True)),
    Case(a_delete_removes_and_may_be_repeated, (["success", "success"], (0, 0, 0))),
    Case(
        an_old_handle_deletes_nothing_and_says_nothing,
        ("success", (0, 1, 0)),
        moto=("success", (0, 0, 0)),
        moto_is_wrong="It deletes by any handle that a message ever had; with SQS the message may well stay (DeleteMessage).",
    ),
    Case(
        a_handle_of_nothing_is_refused,
        (("ReceiptHandleIsInvalid", 400), ("ReceiptHandleIsInvalid", 400), [("a", "ReceiptHandleIsInvalid", True)]),
    ),
    Case(
        a_visible_message_cannot_be_extended,
        (f"{PREFIX}MessageNotInflight", 400),
        moto="success",
        moto_is_wrong="It extends a message that is not in flight; SQS answers MessageNotInflight (ChangeMessageVisibility, Errors).",
    ),
    Case(
        a_deleted_message_cannot_be_extended,
        ("InvalidParameterValue", 400),
        moto=("ReceiptHandleIsInvalid", 400),
        moto_is_wrong="The handle is well formed; SQS says that the message does not exist or cannot be changed.",
    ),
    Case(numbers_out_of_range_are_refused, (("InvalidParameterValue", 400),) * 4),
    Case(
        a_batch_is_sent_received_and_deleted,
        ([f"n-{number}" for number in range(10)], [str(number) for number in range(10)], 10, 10, [[], [], []], (0, 0, 0)),
    ),
    Case(
        wrong_batches_are_refused_whole,
        [
            (f"{PREFIX}TooManyEntriesInBatchRequest", 400),
            (f"{PREFIX}BatchEntryIdsNotDistinct", 400),
            (f"{PREFIX}InvalidBatchEntryId", 400),
            (f"{PREFIX}EmptyBatchRequest", 400),
            (0, 0, 0),
        ],
    ),
    Case(
        wrong_batches_of_deletes_are_refused_whole,
        [
            (f"{PREFIX}TooManyEntriesInBatchRequest", 400),
            (f"{PREFIX}BatchEntryIdsNotDistinct", 400),
            (f"{PREFIX}EmptyBatchRequest", 400),
            (0, 1, 0),
        ],
        moto=["success", (f"{PREFIX}BatchEntryIdsNotDistinct", 400), (f"{PREFIX}EmptyBatchRequest", 400), (0, 1, 0)],
        moto_is_wrong="It takes more than ten deletes in a batch (DeleteMessageBatch, Errors).",
    ),
    Case(
        the_limit_is_a_mebibyte,
        ["success", ("InvalidParameterValue", 400), "success", (f"{PREFIX}BatchRequestTooLong", 400), (3, 0, 0)],
    ),
    Case(
        characters_that_xml_has_not_are_refused,
        [("InvalidMessageContents", 400)] * 3 + ["success"] * 2,
        moto=["success"] * 5,
        moto_is_wrong="It takes any character; SQS takes those of XML 1.0 (SendMessage, MessageBody).",
    ),
    Case(a_delayed_message_waits, ([], (0, 0, 1))),
    Case(a_queue_that_is_not_there, [GONE, GONE, GONE]),
    Case(
        a_queue_by_its_name,
        (True, ("QueueAlreadyExists", 400), {"VisibilityTimeout": "77", "DelaySeconds": "3"}, True, True, GONE),
    ),
    Case(a_purge_empties, (0, 0, 0)),
    Case(a_message_received_too_often_moves_to_the_dead_letters, (True, [], "a")),
    Case(
        dead_letters_come_back_as_new_messages,
        ("a", False, "1"),
        moto=("500", 500),
        moto_is_wrong="It does not know StartMessageMoveTask.",
    ),
]
NAMES: Final = [case.act.__name__ for case in CASES]


@pytest.fixture(scope="module")
def standin() -> Iterator[SqsStandIn]:
    with SqsStandIn(name="first") as server:
        yield server


@pytest.fixture(scope="module")
def moto() -> Iterator[EmbeddedQueue]:
    with EmbeddedQueue() as queue:
        yield queue


def in_a_queue_of_its_own(client: SQSClient, act: Callable[[SQSClient, str], Any]) -> Any:
    url = client.create_queue(QueueName=f"case-{uuid.uuid4().hex}", Attributes={"VisibilityTimeout": "600"})["QueueUrl"]
    try:
        return act(client, url)
    finally:
        client.delete_queue(QueueUrl=url)


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_the_stand_in_answers_as_sqs_does(standin: SqsStandIn, case: Case) -> None:
    assert in_a_queue_of_its_own(standin.client(), case.act) == case.expected


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_moto_agrees_or_is_known_to_be_wrong(moto: EmbeddedQueue, case: Case) -> None:
    assert bool(case.moto_is_wrong) == (case.moto is not None)
    assert in_a_queue_of_its_own(moto.client(), case.act) == (case.moto if case.moto_is_wrong else case.expected)
