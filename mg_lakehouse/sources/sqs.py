"""The SQS queue: its calls with typed results, and its errors classified.

A delete is a hint: SQS answers an old receipt handle with success and deletes nothing, and a deleted message
can come back. This module promises no more than SQS does; :mod:`mg_lakehouse.bronze.append` makes it exact.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urlsplit

from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionClosedError,
    EndpointConnectionError,
    HTTPClientError,
    InvalidRegionError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
)

from mg_lakehouse._util.dates import of_milliseconds
from mg_lakehouse._version import __version__
from mg_lakehouse.errors import ConfigurationError, LakehouseError, PermanentError, TransientError
from mg_lakehouse.lake.failpoints import Failpoint, reached
from mg_lakehouse.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import ChangeMessageVisibilityBatchResultTypeDef, DeleteMessageBatchResultTypeDef

    _BatchResult = ChangeMessageVisibilityBatchResultTypeDef | DeleteMessageBatchResultTypeDef

__all__ = ["ONE_CALL", "Delivery", "EventQueue", "InFlightLimitError", "QueueDepth", "Received", "open_queue", "queue_client"]

ONE_CALL: Final = 10
"""Messages in one SQS call, at most."""

_IN_FLIGHT_QUOTA: Final = 120_000

_REGION: Final = re.compile(r"[a-z]{2,4}(?:-[a-z]+)+-[0-9]+")
"""Form of a region's name, such as `us-gov-west-1` or `eusc-de-east-1`."""

_FIRST_REGION: Final = "us-east-1"

_NO_SUCH_QUEUE: Final = ("NonExistentQueue", "QueueDoesNotExist", "InvalidAddress")
_REFUSED: Final = (
    "AccessDenied",
    "AuthFailure",
    "ExpiredToken",
    "InvalidClientTokenId",
    "InvalidSecurity",
    "MissingAuthenticationToken",
    "OptInRequired",
    "SignatureDoesNotMatch",
    "UnrecognizedClient",
)


class InFlightLimitError(TransientError):
    """The queue has as many messages in flight as SQS allows. Only short polling gets this error; long polling finds nothing."""


class QueueDepth(NamedTuple):
    """Approximate numbers of messages, as SQS reports them."""

    visible: int
    in_flight: int
    delayed: int

    @property
    def head_room(self) -> int:
        """How many more messages may be in flight before SQS delivers no more (quota of a standard queue: 120,000)."""
        return max(0, _IN_FLIGHT_QUOTA - self.in_flight)


@dataclass(frozen=True, slots=True)
class Received:
    """One delivery of a message. ``attributes`` is a JSON object of the message's system attributes and its own."""

    message_id: str
    receipt_handle: str
    body: str
    sent_at: datetime
    received_at: datetime
    receive_count: int
    attributes: str


class Delivery(NamedTuple):
    """The result of one receive; ``corrupted`` counts the bodies that did not match SQS's checksum and were left out."""

    messages: list[Received]
    corrupted: int


def queue_client(
    queue_url: str,
    *,
    connections: int = 10,
    wait_seconds: int = 20,
    region_name: str | None = None,
    endpoint_url: str | None = None,
    profile_name: str | None = None,
    access_key_id: str | None = None,
    secret_access_key: str | None = None,
    session_token: str | None = None,
    verify: bool | None = None,
) -> SQSClient:
    """Make an SQS client. Missing values come from the environment; the region, as a last resort, from the queue's address.

    Makes no call.

    Raises:
        ConfigurationError: the AWS profile is unknown, or the region or endpoint unusable.
    """
    import boto3  # noqa: PLC0415  a command without a queue does not pay the 0.1 s

    config = Config(
        retries={"mode": "standard", "total_max_attempts": 4},
        max_pool_connections=connections,
        connect_timeout=5,
        read_timeout=wait_seconds + 20,
        # botocore builds its own from forty parts in each call: a tenth of a drain's CPU.
        user_agent=f"mg-lakehouse/{__version__}",
    )
    with _sorted_errors(queue_url):
        session = boto3.Session(
            profile_name=profile_name,
            aws_access_key_id=access_key_id,
            aws_secret_access_key=secret_access_key,
            aws_session_token=session_token,
        )
        region = region_name or session.region_name or _region_of(queue_url)
        return session.client("sqs", region_name=region, endpoint_url=endpoint_url, verify=verify, config=config)


def open_queue(settings: Settings, **options: Any) -> EventQueue:
    """Open the queue of the settings; ``options`` are those of :func:`queue_client`. Makes no call.

    Raises:
        ConfigurationError: no queue is set, or the AWS settings are unusable.
    """
    if not settings.queue_url:
        raise ConfigurationError("No queue is set: set MG_QUEUE_URL to the address of the MessageGears event feed's SQS queue.")
    client = queue_client(settings.queue_url, connections=2 * settings.receivers + 2, wait_seconds=settings.wait_seconds, **options)
    return EventQueue(client, settings.queue_url)


class EventQueue:
    """A queue of the event feed. Safe to use from many threads."""

    def __init__(self, client: SQSClient, url: str) -> None:
        self._client = client
        self.url = url

    @property
    def name(self) -> str:
        """Name of the queue, the last part of its address."""
        return self.url.rstrip("/").rpartition("/")[2]

    def depth(self) -> QueueDepth:
        """Count the messages that wait, are in flight and are delayed. Receives nothing.

        Raises:
            PermanentError, TransientError: the queue did not answer.
        """
        with _sorted_errors(self.url):
            attributes = self._client.get_queue_attributes(
                QueueUrl=self.url,
                AttributeNames=[
                    "ApproximateNumberOfMessages",
                    "ApproximateNumberOfMessagesNotVisible",
                    "ApproximateNumberOfMessagesDelayed",
                ],
            )["Attributes"]
        return QueueDepth(
            visible=int(attributes.get("ApproximateNumberOfMessages", 0)),
            in_flight=int(attributes.get("ApproximateNumberOfMessagesNotVisible", 0)),
            delayed=int(attributes.get("ApproximateNumberOfMessagesDelayed", 0)),
        )

    def receive(self, *, at_most: int, wait_seconds: int, visibility_seconds: int) -> Delivery:
        """Receive up to ten messages, hidden from other consumers for ``visibility_seconds``.

        A message whose body does not match SQS's checksum is left out: it comes again.

        Raises:
            PermanentError, TransientError: nothing was received, or it comes again.
        """
        with _sorted_errors(self.url):
            answer = self._client.receive_message(
                QueueUrl=self.url,
                MaxNumberOfMessages=min(at_most, ONE_CALL),
                WaitTimeSeconds=wait_seconds,
                VisibilityTimeout=visibility_seconds,
                MessageSystemAttributeNames=["All"],
                MessageAttributeNames=["All"],
            )
        reached(Failpoint.RECEIVED)
        now = datetime.now(UTC)
        delivered = answer.get("Messages", [])
        intact = [_received(message, now) for message in delivered if _is_intact(message)]
        return Delivery(intact, len(delivered) - len(intact))

    def delete(self, handles: Sequence[str]) -> list[str]:
        """Delete messages by their handles. Returns the handles that may not have been deleted.

        Raises:
            PermanentError: it is unknown what was deleted; the rest comes again.
        """

        def delete(ten: Sequence[str]) -> DeleteMessageBatchResultTypeDef:
            # Positional ids: with message ids, a message that came twice would repeat an entry id, which fails the whole call.
            entries = [{"Id": str(index), "ReceiptHandle": handle} for index, handle in enumerate(ten)]
            answer = self._client.delete_message_batch(QueueUrl=self.url, Entries=entries)  # type: ignore[arg-type]
            reached(Failpoint.DELETED_SOME)
            return answer

        return self._in_tens(handles, delete)

    def hide(self, handles: Sequence[str], seconds: int) -> list[str]:
        """Hide messages for ``seconds`` from now; 0 releases them at once. Returns the handles for which that may not have worked.

        Raises:
            PermanentError: it is unknown what was changed.
        """

        def hide(ten: Sequence[str]) -> ChangeMessageVisibilityBatchResultTypeDef:
            entries = [{"Id": str(index), "ReceiptHandle": handle, "VisibilityTimeout": seconds} for index, handle in enumerate(ten)]
            return self._client.change_message_visibility_batch(QueueUrl=self.url, Entries=entries)  # type: ignore[arg-type]

        return self._in_tens(handles, hide)

    def _in_tens(self, handles: Sequence[str], call: Callable[[Sequence[str]], _BatchResult]) -> list[str]:
        """Make a call for ten handles at a time. A failed call affects its own ten and not those after it."""
        failed: list[str] = []
        for start in range(0, len(handles), ONE_CALL):
            ten = handles[start : start + ONE_CALL]
            try:
                with _sorted_errors(self.url):
                    answer = call(ten)
            except TransientError:
                failed += ten
            else:
                failed += [ten[int(entry["Id"])] for entry in answer.get("Failed", [])]
        return failed


def _region_of(queue_url: str) -> str:
    """Return the region that a queue's address names: that of a VPC endpoint, FIPS and dual-stack ones too, and the legacy ``eu-west-1.queue.amazonaws.com``."""
    labels = (urlsplit(queue_url).hostname or "").split(".")
    for before, after in pairwise(labels):
        named = after if before in {"sqs", "sqs-fips"} else before if after == "queue" else ""
        if _REGION.fullmatch(named):
            return named
    return _FIRST_REGION  # as `queue.amazonaws.com` means, and as good as any for an emulator


def _received(message: Mapping[str, object], now: datetime) -> Received:
    system: Mapping[str, str] = message.get("Attributes", {})  # type: ignore[assignment]
    own: Mapping[str, Mapping[str, str]] = message.get("MessageAttributes", {})  # type: ignore[assignment]
    values = {name: value.get("StringValue") for name, value in own.items()}
    sent = of_milliseconds(int(system.get("SentTimestamp", 0)))
    return Received(
        message_id=str(message["MessageId"]),
        receipt_handle=str(message["ReceiptHandle"]),
        body=str(message["Body"]),
        sent_at=sent,
        received_at=now,
        receive_count=int(system.get("ApproximateReceiveCount", 1)),
        attributes=json.dumps({"system": dict(system), "message": values}, sort_keys=True, ensure_ascii=False),
    )


def _is_intact(message: Mapping[str, object]) -> bool:
    expected = message.get("MD5OfBody")
    body = str(message["Body"]).encode("utf-8", "surrogatepass")
    return expected is None or hashlib.md5(body, usedforsecurity=False).hexdigest() == expected


@contextmanager
def _sorted_errors(url: str) -> Iterator[None]:
    """Translate boto3's errors into ours, only here."""
    try:
        yield
    except (BotoCoreError, ClientError, ValueError) as error:
        raise _classified(error, url) from error


def _classified(error: Exception, url: str) -> LakehouseError:
    match error:
        case NoCredentialsError() | PartialCredentialsError():
            return PermanentError(
                "No complete AWS credentials were found for the queue: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE or a role."
            )
        case ProfileNotFound() | NoRegionError() | InvalidRegionError():
            return ConfigurationError(f"The AWS settings are unusable: {error} Correct AWS_PROFILE or AWS_REGION.")
        case EndpointConnectionError() | ConnectionClosedError() | HTTPClientError():
            return TransientError(f"The queue {url} did not answer: check the network, MG_QUEUE_URL and AWS_ENDPOINT_URL.")
        case ClientError():
            return _sorted_answer(error, url)
        case ValueError():
            return ConfigurationError(f"The queue {url} cannot be called: {error}. Correct MG_QUEUE_URL or AWS_ENDPOINT_URL.")
        case _:
            return TransientError(f"The queue {url} could not be called ({type(error).__name__}).")


def _sorted_answer(error: ClientError, url: str) -> LakehouseError:
    code = str(error.response.get("Error", {}).get("Code", ""))
    if any(sign in code for sign in _NO_SUCH_QUEUE):
        return PermanentError(f"The queue {url} does not exist: correct MG_QUEUE_URL, or the region and account it names.")
    if any(sign in code for sign in _REFUSED):
        return PermanentError(
            f"AWS refused the credentials for the queue {url} ({code}): check them and the rights sqs:ReceiveMessage, "
            "sqs:DeleteMessage, sqs:ChangeMessageVisibility and sqs:GetQueueAttributes."
        )
    if code == "OverLimit":
        return InFlightLimitError(f"The queue {url} has as many messages in flight as SQS allows: wait until some are deleted or return.")
    return TransientError(f"The queue {url} answered with {code or 'an error'}.")
