"""The calls of SQS by their names in the API reference: parameters in, answer out, the faults of messages in between.

Here are the checks of parameters and the shapes of answers; what a queue does is :mod:`.model`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import struct
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from mg_lakehouse.testing.sqs.clock import Clock
from mg_lakehouse.testing.sqs.errors import SqsError, invalid
from mg_lakehouse.testing.sqs.faults import Fault, Faults
from mg_lakehouse.testing.sqs.model import ACCOUNT, LONGEST_VISIBILITY, Delivered, Queue

__all__ = ["Account"]

Request = Mapping[str, Any]
Answer = dict[str, Any]

_ENTRIES: Final = 10
_BATCH_BYTES: Final = 1_048_576
_ENTRY_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,80}\Z")
_QUEUE_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,80}\Z")
# What is no character of XML 1.0 (SendMessage, MessageBody).
_UNSENDABLE: Final = re.compile("[^\\t\\n\\r\\x20-\\ud7ff\\ue000-\\ufffd\\U00010000-\\U0010ffff]")
_SETTABLE: Final = {
    "VisibilityTimeout": ("visibility_seconds", 0, LONGEST_VISIBILITY),
    "DelaySeconds": ("delay_seconds", 0, 900),
    "ReceiveMessageWaitTimeSeconds": ("wait_seconds", 0, 20),
    "MessageRetentionPeriod": ("retention_seconds", 60, 1_209_600),
    "MaximumMessageSize": ("maximum_bytes", 1_024, 1_048_576),
}


class Account:
    """The queues of an account and the calls on them."""

    def __init__(self, clock: Clock, faults: Faults, *, seed: int | None = None) -> None:
        self.clock = clock
        self.faults = faults
        self.queues: dict[str, Queue] = {}
        self.endpoint_url = ""
        self._seed = seed
        self._lock = threading.Lock()
        self._calls: dict[str, Callable[[Request], Answer]] = {
            "CreateQueue": self._create_queue,
            "DeleteQueue": self._delete_queue,
            "GetQueueUrl": lambda request: {"QueueUrl": self.url_of(self._named(request["QueueName"]))},
            "ListQueues": self._list_queues,
            "GetQueueAttributes": self._get_queue_attributes,
            "SetQueueAttributes": self._set_queue_attributes,
            "PurgeQueue": self._purge_queue,
            "SendMessage": self._send,
            "SendMessageBatch": self._send_batch,
            "ReceiveMessage": self._receive,
            "DeleteMessage": self._delete,
            "DeleteMessageBatch": self._delete_batch,
            "ChangeMessageVisibility": self._change_visibility,
            "ChangeMessageVisibilityBatch": self._change_visibility_batch,
            "StartMessageMoveTask": self._start_message_move_task,
        }

    def call(self, name: str, request: Request) -> Answer:
        """Make a call.

        Raises:
            SqsError: what the server answers with instead.
        """
        if name not in self._calls:
            raise SqsError("UnsupportedOperation", f"The emulator does not know the call {name}.")
        return self._calls[name](request)

    def url_of(self, queue: Queue) -> str:
        """Address of a queue."""
        return f"{self.endpoint_url}/{ACCOUNT}/{queue.name}"

    def create(self, name: str, **options: Any) -> Queue:
        """A new queue; ``options`` are those of :class:`Queue`."""
        queue = Queue(name, self.clock, **{"seed": self._seed, **options})
        with self._lock:
            self.queues[name] = queue
        return queue

    def long_poll_seconds(self, request: Request) -> float:
        """How long a receive may wait for a first message."""
        return float(request.get("WaitTimeSeconds", self._queue(request).wait_seconds))

    def _named(self, name: str) -> Queue:
        with self._lock:
            if queue := self.queues.get(name):
                return queue
        raise SqsError("QueueDoesNotExist", "The specified queue does not exist.")

    def _queue(self, request: Request) -> Queue:
        return self._named(str(_required(request, "QueueUrl")).rpartition("/")[2])

    def _by_arn(self, arn: str) -> Queue:
        return self._named(arn.rpartition(":")[2])

    def _create_queue(self, request: Request) -> Answer:
        name = str(_required(request, "QueueName"))
        if not _QUEUE_NAME.match(name):
            raise SqsError(
                "InvalidParameterValue",
                "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length",
            )
        attributes = request.get("Attributes", {})
        queue = self.queues.get(name)
        if queue is not None:
            have = self._attributes(queue)
            if any(have.get(key) != value for key, value in attributes.items()):
                raise SqsError("QueueNameExists", f"A queue already exists with the same name and a different value for attribute {name}")
        else:
            options = self._options(attributes)
            queue = self.create(name, **options)
        return {"QueueUrl": self.url_of(queue)}

    def _delete_queue(self, request: Request) -> Answer:
        queue = self._queue(request)
        with self._lock:
            del self.queues[queue.name]
        return {}

    def _list_queues(self, request: Request) -> Answer:
        prefix = request.get("QueueNamePrefix", "")
        with self._lock:
            found = [queue for name, queue in sorted(self.queues.items()) if name.startswith(prefix)]
        return {"QueueUrls": [self.url_of(queue) for queue in found]} if found else {}

    def _get_queue_attributes(self, request: Request) -> Answer:
        attributes = self._attributes(self._queue(request))
        wanted = request.get("AttributeNames", [])
        for name in wanted:
            if name not in {*attributes, "All", "RedrivePolicy", "Policy"}:
                raise SqsError("InvalidAttributeName", f"Unknown Attribute {name}.")
        return {"Attributes": {name: value for name, value in attributes.items() if "All" in wanted or name in wanted}}

    def _set_queue_attributes(self, request: Request) -> Answer:
        queue = self._queue(request)
        for name, value in self._options(request.get("Attributes", {})).items():
            setattr(queue, name, value)
        return {}

    def _purge_queue(self, request: Request) -> Answer:
        self._queue(request).purge()
        return {}

    def _attributes(self, queue: Queue) -> dict[str, str]:
        visible, in_flight, delayed = queue.counts()
        attributes = {
            "QueueArn": queue.arn,
            "ApproximateNumberOfMessages": str(visible),
            "ApproximateNumberOfMessagesNotVisible": str(in_flight),
            "ApproximateNumberOfMessagesDelayed": str(delayed),
            "CreatedTimestamp": str(int(queue.created_at)),
            "LastModifiedTimestamp": str(int(queue.created_at)),
            **{name: str(int(getattr(queue, field))) for name, (field, _, _) in _SETTABLE.items()},
            "SqsManagedSseEnabled": "true",
        }
        if queue.dead_letters is not None:
            policy = {"deadLetterTargetArn": queue.dead_letters.arn, "maxReceiveCount": queue.max_receive_count}
            attributes["RedrivePolicy"] = json.dumps(policy)
        return attributes

    def _options(self, attributes: Mapping[str, str]) -> dict[str, Any]:
        options: dict[str, Any] = {}
        for name, value in attributes.items():
            if name == "RedrivePolicy":
                policy = json.loads(value)
                options |= {
                    "dead_letters": self._by_arn(policy["deadLetterTargetArn"]),
                    "max_receive_count": int(policy["maxReceiveCount"]),
                }
            elif name in _SETTABLE:
                field, least, most = _SETTABLE[name]
                if not least <= int(value) <= most:
                    raise SqsError("InvalidAttributeValue", f"Invalid value for the parameter {name}.")
                options[field] = int(value)
            else:
                raise SqsError("InvalidAttributeName", f"Unknown Attribute {name}.")
        return options

    def _send(self, request: Request) -> Answer:
        queue = self._queue(request)
        size = _size(request)
        if size > queue.maximum_bytes:
            reason = f"Message must be shorter than {queue.maximum_bytes} bytes."
            raise SqsError("InvalidParameterValue", f"One or more parameters are invalid. Reason: {reason}")
        return _send(queue, request)

    def _send_batch(self, request: Request) -> Answer:
        queue = self._queue(request)
        entries = _entries(request)
        size = sum(map(_size, entries))
        if size > _BATCH_BYTES:
            raise SqsError("BatchRequestTooLong", f"Batch requests cannot be longer than {_BATCH_BYTES} bytes. You have sent {size} bytes.")
        return self._each("SendMessageBatch", entries, lambda entry: _send(queue, entry))

    def _receive(self, request: Request) -> Answer:
        queue = self._queue(request)
        at_most = _within(request, "MaxNumberOfMessages", 1, _ENTRIES, 1)
        wait = _within(request, "WaitTimeSeconds", 0, 20, queue.wait_seconds)
        visibility = _within(request, "VisibilityTimeout", 0, LONGEST_VISIBILITY, queue.visibility_seconds)
        if self.faults.strike(Fault.EMPTY, "ReceiveMessage"):
            return {}
        twice = at_most > 1 and queue.counts().visible > 0 and self.faults.strike(Fault.REPEATED, "ReceiveMessage") is not None
        delivered = queue.receive(at_most=int(at_most) - twice, visibility_seconds=visibility, long_poll=wait > 0)
        for one in delivered:
            if self.faults.strike(Fault.DELIVERED_TWICE, "ReceiveMessage"):
                queue.show([one.message.message_id])
        if twice and delivered:
            delivered.append(queue.deliver_again(delivered[0]))
        messages = [self._message(one, request) for one in delivered]
        return {"Messages": messages} if messages else {}

    def _message(self, delivered: Delivered, request: Request) -> Answer:
        message = delivered.message
        damaged = self.faults.strike(Fault.WRONG_MD5, "ReceiveMessage")
        found: Answer = {
            "MessageId": message.message_id,
            "ReceiptHandle": delivered.handle,
            "MD5OfBody": "0" * 32 if damaged else message.md5,
            "Body": message.body,
        }
        system = {
            "SenderId": "AIDAEMULATOR",
            "SentTimestamp": str(int(message.sent_at * 1000)),
            "ApproximateReceiveCount": str(delivered.receive_count),
            "ApproximateFirstReceiveTimestamp": str(int((message.first_received_at or 0) * 1000)),
        }
        if message.dead_letter_source is not None:
            system["DeadLetterQueueSourceArn"] = message.dead_letter_source
        wanted = {*request.get("MessageSystemAttributeNames", []), *request.get("AttributeNames", [])}
        if system := {name: value for name, value in system.items() if "All" in wanted or name in wanted}:
            found["Attributes"] = system
        asked = request.get("MessageAttributeNames", [])
        if own := {name: value for name, value in message.attributes.items() if _asked_for(name, asked)}:
            found["MessageAttributes"] = own
            found["MD5OfMessageAttributes"] = _attributes_md5(own)
        return found

    def _delete(self, request: Request) -> Answer:
        returns = self.faults.strike(Fault.DELETED_RETURNS, "DeleteMessage") is not None
        self._queue(request).delete(_required(request, "ReceiptHandle"), returns=returns)
        return {}

    def _delete_batch(self, request: Request) -> Answer:
        """All entries in one step of the model, so that its hook looks once for the ten."""
        queue = self._queue(request)
        entries = _entries(request)
        failing = [self.faults.strike(Fault.ENTRY_FAILED, "DeleteMessageBatch") is not None for _ in entries]
        tried = [entry for entry, fails in zip(entries, failing, strict=True) if not fails]
        returns = [self.faults.strike(Fault.DELETED_RETURNS, "DeleteMessageBatch") is not None for _ in tried]
        errors = dict(
            zip((entry["Id"] for entry in tried), queue.delete_all([e["ReceiptHandle"] for e in tried], returns=returns), strict=True)
        )
        outcome: list[tuple[str, SqsError | None, Answer]] = [
            (entry["Id"], _UNLUCKY if fails else errors[entry["Id"]], {}) for entry, fails in zip(entries, failing, strict=True)
        ]
        return _batch_answer(outcome)

    def _change_visibility(self, request: Request) -> Answer:
        self._change(self._queue(request), request)
        return {}

    def _change_visibility_batch(self, request: Request) -> Answer:
        queue = self._queue(request)
        return self._each("ChangeMessageVisibilityBatch", _entries(request), lambda entry: self._change(queue, entry))

    def _change(self, queue: Queue, entry: Request) -> Answer:
        _required(entry, "VisibilityTimeout")
        queue.change_visibility(_required(entry, "ReceiptHandle"), _within(entry, "VisibilityTimeout", 0, LONGEST_VISIBILITY, 0))
        return {}

    def _start_message_move_task(self, request: Request) -> Answer:
        """The move is over when the call returns; SQS takes its time."""
        source = self._by_arn(_required(request, "SourceArn"))
        sources = [queue for queue in self.queues.values() if queue.dead_letters is source]
        if not sources:
            raise SqsError("UnsupportedOperation", "Source queue must be configured as a Dead Letter Queue.")
        destination = self._by_arn(request["DestinationArn"]) if request.get("DestinationArn") else sources[0]
        source.redrive(destination)
        return {"TaskHandle": base64.b64encode(source.name.encode()).decode()}

    def _each(self, call: str, entries: Sequence[Request], act: Callable[[Request], Answer]) -> Answer:
        outcome: list[tuple[str, SqsError | None, Answer]] = []
        for entry in entries:
            if self.faults.strike(Fault.ENTRY_FAILED, call):
                outcome.append((entry["Id"], _UNLUCKY, {}))
                continue
            try:
                outcome.append((entry["Id"], None, act(entry)))
            except SqsError as error:
                outcome.append((entry["Id"], error, {}))
        return _batch_answer(outcome)


_UNLUCKY: Final = SqsError("InternalError", "We encountered an internal error. Please try again.", status=500, sender=False)


def _batch_answer(outcome: Sequence[tuple[str, SqsError | None, Answer]]) -> Answer:
    answer: Answer = {"Successful": [{"Id": entry_id, **result} for entry_id, error, result in outcome if error is None]}
    failed = [
        {"Id": entry_id, "Code": error.code, "Message": error.message, "SenderFault": error.sender}
        for entry_id, error, _ in outcome
        if error is not None
    ]
    return {**answer, "Failed": failed} if failed else answer


def _required(request: Request, name: str) -> Any:
    if name not in request:
        raise SqsError("MissingParameter", f"The request must contain the parameter {name}.")
    return request[name]


def _within(request: Request, name: str, least: float, most: float, default: float) -> float:
    value = request.get(name, default)
    if not least <= value <= most:
        raise invalid(name, value, f"Must be >= {least} and <= {most}, if provided.")
    return float(value)


def _entries(request: Request) -> Sequence[Request]:
    entries: Sequence[Request] = request.get("Entries", [])
    ids = [str(entry.get("Id", "")) for entry in entries]
    if not entries:
        raise SqsError("EmptyBatchRequest", "There should be at least one entry in the request.")
    if len(entries) > _ENTRIES:
        many = f"Maximum number of entries per request are {_ENTRIES}. You have sent {len(entries)}."
        raise SqsError("TooManyEntriesInBatchRequest", many)
    if not all(map(_ENTRY_ID.match, ids)):
        allowed = "can only include alphanumeric characters, hyphens and underscores. It can be at most 80 letters long."
        raise SqsError("InvalidBatchEntryId", f"A batch entry id {allowed}")
    for entry_id in ids:
        if ids.count(entry_id) > 1:
            raise SqsError("BatchEntryIdsNotDistinct", f"Id {entry_id} repeated.")
    return entries


def _size(entry: Request) -> int:
    own = sum(
        len(name.encode()) + len(value["DataType"].encode()) + len(_attribute_bytes(value))
        for name, value in entry.get("MessageAttributes", {}).items()
    )
    return len(str(_required(entry, "MessageBody")).encode("utf-8", "surrogatepass")) + own


def _send(queue: Queue, entry: Request) -> Answer:
    body = str(_required(entry, "MessageBody"))
    if not body:
        raise SqsError("MissingParameter", "The request must contain the parameter MessageBody.")
    if _UNSENDABLE.search(body):
        raise SqsError(
            "InvalidMessageContents", "Invalid characters found. Valid unicode characters are #x9 | #xA | #xD | #x20 to #xD7FF | ..."
        )
    own = entry.get("MessageAttributes", {})
    message = queue.send(body, attributes=own, delay_seconds=entry.get("DelaySeconds"))
    answer = {"MessageId": message.message_id, "MD5OfMessageBody": message.md5}
    return {**answer, "MD5OfMessageAttributes": _attributes_md5(own)} if own else answer


def _asked_for(name: str, asked: Sequence[str]) -> bool:
    return any(one in ("All", ".*", name) or (one.endswith(".*") and name.startswith(one[:-1])) for one in asked)


def _attribute_bytes(value: Mapping[str, str]) -> bytes:
    return base64.b64decode(value["BinaryValue"]) if "BinaryValue" in value else value.get("StringValue", "").encode()


def _attributes_md5(attributes: Mapping[str, Mapping[str, str]]) -> str:
    """As the developer guide has it: name, type and value by name, each with its length before it."""
    digest = hashlib.md5(usedforsecurity=False)
    for name, value in sorted(attributes.items()):
        for part in (name.encode(), value["DataType"].encode()):
            digest.update(struct.pack("!I", len(part)) + part)
        content = _attribute_bytes(value)
        digest.update((b"\2" if "BinaryValue" in value else b"\1") + struct.pack("!I", len(content)) + content)
    return digest.hexdigest()
