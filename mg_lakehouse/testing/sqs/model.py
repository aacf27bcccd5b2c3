"""A standard queue of SQS in memory: what it does with messages, without a network.

It follows the API reference and the developer guide of SQS, and where they leave a choice, it takes the one that is harder
on a consumer:

* each receive gives a new receipt handle. Deleting with an older one "will still succeed, but the message might not be
  deleted" (DeleteMessage): here it never is. The reference says nothing of extending with an older one; here that succeeds
  and changes nothing as well;
* the latest handle still deletes after its time is up, as long as nobody else received the message;
  ``refuse_expired_handles`` has it refused, as the knowledge centre describes;
* a message is extended to 12 hours after its receive at most (ChangeMessageVisibility);
* at the in-flight quota short polling is answered with ``OverLimit``, and long polling with no error and no message
  (developer guide, "Quotas related to queues");
* a message that was received ``maxReceiveCount`` times moves to the dead-letter queue at the next receive, with its id and
  its enqueue time (developer guide, "Setting-up dead-letter queue retention"). Redriven messages "are considered new
  messages with a new messageID and enqueueTime" (developer guide, "Configuring a dead-letter queue redrive").
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import heapq
import itertools
import threading
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final, NamedTuple

from mg_lakehouse.testing.addresses import REGION
from mg_lakehouse.testing.sqs.clock import Clock
from mg_lakehouse.testing.sqs.errors import SqsError, invalid

__all__ = ["ACCOUNT", "Counts", "Delivered", "Message", "Queue"]

ACCOUNT: Final = "000000000000"
LONGEST_VISIBILITY: Final = 43_200


@dataclass(slots=True, eq=False)
class Message:
    """A message and where it stands. ``visible_at`` and the others are seconds of the queue's clock."""

    message_id: str
    body: str
    md5: str
    attributes: Mapping[str, Any]
    sent_at: float
    visible_at: float
    receive_count: int = 0
    first_received_at: float | None = None
    received_at: float = 0.0
    handle: str | None = None
    waits: bool = False
    gone: bool = False
    dead_letter_source: str | None = None


class Delivered(NamedTuple):
    """One delivery of a message, with what was true at it."""

    message: Message
    handle: str
    receive_count: int


class Counts(NamedTuple):
    """Messages by state; SQS calls its own numbers approximate, these are exact."""

    visible: int
    in_flight: int
    delayed: int


@dataclass(slots=True)
class Queue:
    """A queue. Safe to use from many threads.

    ``before_delete`` sees the ids of the messages that a call is about to remove; ``deleted`` lists those that were. With a
    ``seed`` messages are delivered in no order, otherwise about in that of their arrival.
    """

    name: str
    clock: Clock
    visibility_seconds: float = 30
    delay_seconds: float = 0
    wait_seconds: float = 0
    retention_seconds: float = 345_600
    maximum_bytes: int = 1_048_576
    in_flight_limit: int = 120_000
    refuse_expired_handles: bool = False
    seed: int | None = None
    dead_letters: Queue | None = None
    max_receive_count: int = 0
    before_delete: Callable[[Sequence[str]], None] | None = None
    deleted: list[str] = field(default_factory=list)
    sent: list[str] = field(default_factory=list)
    received: int = 0
    created_at: float = field(init=False)
    _messages: dict[str, Message] = field(default_factory=dict, init=False)
    _waiting: list[Message] = field(default_factory=list, init=False)
    _first: int = field(default=0, init=False)
    _hidden: list[tuple[float, int, Message]] = field(default_factory=list, init=False)
    _ages: list[tuple[float, int, Message]] = field(default_factory=list, init=False)
    _in_flight: set[str] = field(default_factory=set, init=False)
    _delayed: set[str] = field(default_factory=set, init=False)
    _numbers: itertools.count[int] = field(default_factory=itertools.count, init=False)
    _lock: threading.RLock = field(default_factory=threading.RLock, init=False, repr=False)
    _rng: Random = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.created_at = self.clock.now()
        self._rng = Random(self.seed)

    @property
    def arn(self) -> str:
        """The queue's Amazon resource name."""
        return f"arn:aws:sqs:{REGION}:{ACCOUNT}:{self.name}"

    def send(self, body: str, *, attributes: Mapping[str, Any] | None = None, delay_seconds: float | None = None) -> Message:
        """Put a message into the queue."""
        now = self.clock.now()
        delay = self.delay_seconds if delay_seconds is None else delay_seconds
        digest = hashlib.md5(body.encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest()
        message = Message(str(uuid.uuid4()), body, digest, dict(attributes or {}), now, now + delay)
        with self._lock:
            self._put(message)
            self.sent.append(message.message_id)
        return message

    def receive(self, *, at_most: int = 10, visibility_seconds: float | None = None, long_poll: bool = False) -> list[Delivered]:
        """Deliver messages, each with a new handle, and hide them."""
        seconds = self.visibility_seconds if visibility_seconds is None else visibility_seconds
        delivered: list[Delivered] = []
        with self._lock:
            now = self._settle()
            if len(self._in_flight) >= self.in_flight_limit and not long_poll:
                raise SqsError("OverLimit", "Too many messages in flight.", status=403)
            room = min(at_most, self.in_flight_limit - len(self._in_flight))
            while len(delivered) < room and (message := self._next()):
                if self.dead_letters is not None and message.receive_count >= self.max_receive_count:
                    self._bury(message, self.dead_letters)
                    continue
                delivered.append(self._deliver(message, now))
            # Only now: hidden for no time, a message would come again in the same receive.
            for one in delivered:
                self._hide(one.message, now + seconds)
            self.received += len(delivered)
        return delivered

    def deliver_again(self, delivered: Delivered) -> Delivered:
        """A second delivery of a message that one consumer holds, with a handle of its own: the first is an old one now."""
        with self._lock:
            self.received += 1
            return self._deliver(delivered.message, self.clock.now())

    def show(self, message_ids: Iterable[str]) -> None:
        """Make messages visible at once, whoever holds them."""
        with self._lock:
            now = self.clock.now()
            for message_id in message_ids:
                if message := self._messages.get(message_id):
                    self._hide(message, now)

    def delete(self, handle: str, *, returns: bool = False) -> None:
        """Delete by a handle; an old one is answered with success and deletes nothing. ``returns``: it comes again all the same."""
        (error,) = self.delete_all([handle], returns=[returns])
        if error is not None:
            raise error

    def delete_all(self, handles: Sequence[str], *, returns: Sequence[bool]) -> list[SqsError | None]:
        """Delete by handles, each by itself; for each its error."""
        errors: list[SqsError | None] = []
        found: list[tuple[Message, bool]] = []
        with self._lock:
            now = self._settle()
            for handle, comes_again in zip(handles, returns, strict=True):
                try:
                    message = self._message(handle)
                    if message and message.handle == handle and self.refuse_expired_handles and message.visible_at <= now:
                        raise invalid("ReceiptHandle", handle, "The receipt handle has expired.")
                except SqsError as error:
                    errors.append(error)
                    continue
                errors.append(None)
                if message and message.handle == handle:
                    found.append((message, comes_again))
            if found and self.before_delete is not None:
                self.before_delete([message.message_id for message, _ in found])
            for message, comes_again in found:
                if message.gone:
                    continue
                self.deleted.append(message.message_id)
                if comes_again:
                    self._hide(message, now)
                else:
                    self._forget(message)
        return errors

    def change_visibility(self, handle: str, seconds: float) -> None:
        """Hide a message in flight for ``seconds`` from now; 0 shows it."""
        with self._lock:
            now = self._settle()
            message = self._message(handle)
            if message is None:
                raise invalid("ReceiptHandle", handle, "Message does not exist or is not available for visibility timeout change.")
            if message.handle != handle:
                return
            if message.message_id not in self._in_flight:
                raise SqsError("MessageNotInflight", "The specified message isn't in flight.")
            if now + seconds > message.received_at + LONGEST_VISIBILITY:
                reason = "Total VisibilityTimeout for the message is beyond the limit [43200 seconds]"
                raise invalid("VisibilityTimeout", seconds, reason)
            self._hide(message, now + seconds)

    def purge(self) -> None:
        """Forget everything. Not a delete: nothing is reported to ``before_delete``."""
        with self._lock:
            for message in list(self._messages.values()):
                self._forget(message)

    def redrive(self, destination: Queue) -> int:
        """Move what waits here into ``destination`` as new messages, oldest first; how many."""
        with self._lock:
            self._settle()
            moved = sorted((message for message in self._messages.values() if message.waits), key=lambda message: message.sent_at)
            for message in moved:
                self._forget(message)
        for message in moved:
            destination.send(message.body, attributes=message.attributes, delay_seconds=0)
        return len(moved)

    def counts(self) -> Counts:
        """Messages by state."""
        with self._lock:
            self._settle()
            hidden = len(self._in_flight) + len(self._delayed)
            return Counts(len(self._messages) - hidden, len(self._in_flight), len(self._delayed))

    def message_ids(self) -> list[str]:
        """Ids of what the queue holds, in any state."""
        with self._lock:
            self._settle()
            return list(self._messages)

    def _put(self, message: Message) -> None:
        self._messages[message.message_id] = message
        heapq.heappush(self._ages, (message.sent_at, next(self._numbers), message))
        if message.visible_at > self.clock.now():
            self._delayed.add(message.message_id)
            heapq.heappush(self._hidden, (message.visible_at, next(self._numbers), message))
        else:
            self._wait(message)

    def _wait(self, message: Message) -> None:
        self._in_flight.discard(message.message_id)
        self._delayed.discard(message.message_id)
        if not message.waits:
            message.waits = True
            self._waiting.append(message)

    def _hide(self, message: Message, until: float) -> None:
        message.visible_at = until
        if until <= self.clock.now():
            self._wait(message)
            return
        self._in_flight.add(message.message_id)
        heapq.heappush(self._hidden, (until, next(self._numbers), message))

    def _deliver(self, message: Message, now: float) -> Delivered:
        message.receive_count += 1
        message.first_received_at = now if message.first_received_at is None else message.first_received_at
        message.received_at = now
        message.handle = _handle(self.name, message.message_id, next(self._numbers))
        return Delivered(message, message.handle, message.receive_count)

    def _next(self) -> Message | None:
        """The next message that waits: the oldest, or with a seed any."""
        while self._first < len(self._waiting):
            place = self._first if self.seed is None else self._rng.randrange(self._first, len(self._waiting))
            message = self._waiting[place]
            self._waiting[place] = self._waiting[self._first]
            self._first += 1
            if self._first > 1_000 and self._first * 2 > len(self._waiting):
                del self._waiting[: self._first]
                self._first = 0
            if not message.gone:
                message.waits = False
                return message
        return None

    def _settle(self) -> float:
        """Bring everything up to now: what is hidden no longer waits, what is too old is gone."""
        now = self.clock.now()
        while self._hidden and self._hidden[0][0] <= now:
            until, _, message = heapq.heappop(self._hidden)
            if not message.gone and message.visible_at == until:
                self._wait(message)
        while self._ages and self._ages[0][0] <= now - self.retention_seconds:
            self._forget(heapq.heappop(self._ages)[2])
        return now

    def _forget(self, message: Message) -> None:
        message.gone = True
        message.waits = False
        self._messages.pop(message.message_id, None)
        self._in_flight.discard(message.message_id)
        self._delayed.discard(message.message_id)

    def _bury(self, message: Message, grave: Queue) -> None:
        self._forget(message)
        copy = Message(message.message_id, message.body, message.md5, message.attributes, message.sent_at, self.clock.now())
        copy.receive_count, copy.first_received_at = message.receive_count, message.first_received_at
        copy.dead_letter_source = self.arn
        with grave._lock:
            grave._put(copy)

    def _message(self, handle: str) -> Message | None:
        """The message of a handle that this queue gave out; none where it is gone."""
        try:
            queue, message_id, _ = base64.b64decode(handle, validate=True).decode().split(" ")
        except (binascii.Error, ValueError):
            raise SqsError("ReceiptHandleIsInvalid", f'The input receipt handle "{handle}" is not a valid receipt handle.') from None
        if queue != self.name:
            raise SqsError("ReceiptHandleIsInvalid", f'The receipt handle "{handle}" is not valid for this queue.')
        return self._messages.get(message_id)


def _handle(queue: str, message_id: str, number: int) -> str:
    return base64.b64encode(f"{queue} {message_id} {number}".encode()).decode()
