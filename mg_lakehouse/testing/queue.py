"""An SQS queue in this process, for the demo and for tests over a real socket.

Behind it is moto's server on a free port of the loopback interface. It is a stand-in for trying things out,
not for load: with thousands of messages waiting, one call takes over a second.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from functools import cache, wraps
from random import Random
from threading import Event
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

import boto3
from botocore.config import Config

from mg_lakehouse.errors import ConfigurationError, TransientError
from mg_lakehouse.testing.feed.feed import FeedPlan, generate

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import SendMessageBatchRequestEntryTypeDef

__all__ = ["EmbeddedQueue", "trickle"]

_REGION: Final = "us-east-1"
_HOST: Final = "127.0.0.1"
_ENTRIES: Final = 10
# A batch may hold 1 MiB in all; the old limit of 256 KiB is kept to, for older stand-ins refuse more.
_BATCH_BYTES: Final = 256 * 1024
# Long enough for a demo that is stopped in a debugger, within SQS's 12 hours.
_VISIBILITY_SECONDS: Final = 3_600


class EmbeddedQueue:
    """A context manager: the server runs and the queue exists within it.

    Raises on entry:
        ConfigurationError: moto, of the extra ``demo``, is not installed.
    """

    def __init__(self, *, name: str = "messagegears-events", visibility_seconds: int = _VISIBILITY_SECONDS) -> None:
        # moto's state is the process's: a name of its own keeps two queues of one process apart.
        self._name = f"{name}-{uuid.uuid4().hex[:8]}"
        self._visibility_seconds = visibility_seconds
        self._server: Any = None
        self._client: SQSClient | None = None
        self._endpoint_url = ""
        self._queue_url = ""

    def __enter__(self) -> Self:
        try:
            from moto.server import ThreadedMotoServer  # noqa: PLC0415 - an optional dependency
        except ModuleNotFoundError as error:
            raise ConfigurationError("The embedded queue needs moto; install it with `pip install 'mg-lakehouse[demo]'`.") from error
        _leave_bodies_alone()
        _take_calls_in_turn()
        # The server logs a line for each request.
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self._server = ThreadedMotoServer(ip_address=_HOST, port=0, verbose=False)
        self._server.start()
        try:
            host, port = self._server.get_host_and_port()
            self._endpoint_url = f"http://{host}:{port}"
            self._client = self.client()
            created = self._client.create_queue(QueueName=self._name, Attributes={"VisibilityTimeout": str(self._visibility_seconds)})
            self._queue_url = created["QueueUrl"]
        except BaseException:
            self._server.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        if self._client is not None:
            self._client.delete_queue(QueueUrl=self._queue_url)
            self._client.close()
            self._client = None
        self._server.stop()

    @property
    def endpoint_url(self) -> str:
        """Address of the server, for ``AWS_ENDPOINT_URL``."""
        return self._endpoint_url

    @property
    def queue_url(self) -> str:
        """Address of the queue, for ``MG_QUEUE_URL``."""
        return self._queue_url

    @property
    def environment(self) -> dict[str, str]:
        """The variables with which any process of this machine reads the queue. The credentials are dummies."""
        return {
            "AWS_ENDPOINT_URL": self._endpoint_url,
            "AWS_ACCESS_KEY_ID": "embedded",
            "AWS_SECRET_ACCESS_KEY": "embedded",
            "AWS_DEFAULT_REGION": _REGION,
            "AWS_REGION": _REGION,
            "MG_QUEUE_URL": self._queue_url,
        }

    def client(self) -> SQSClient:
        """A new boto3 client of the queue's server; it looks at no variable and no file of the machine's."""
        session = boto3.session.Session()
        return session.client(
            "sqs",
            endpoint_url=self._endpoint_url,
            region_name=_REGION,
            aws_access_key_id="embedded",
            aws_secret_access_key="embedded",  # noqa: S106 - a dummy
            config=Config(proxies={}, retries={"max_attempts": 3}, parameter_validation=False),
        )

    def publish(
        self, bodies: Iterable[str], *, duplicates: float = 0.0, seed: int = 0, progress: Callable[[int], None] | None = None
    ) -> int:
        """Send bodies in their order, and the share ``duplicates`` of them once more; return the number of messages sent.

        ``progress`` is called with that number so far after each batch.

        Raises:
            TransientError: the server refused messages.
        """
        client = self._opened()
        sent = 0
        for batch in _batches(_with_duplicates(bodies, duplicates, Random(seed))):
            entries: list[SendMessageBatchRequestEntryTypeDef] = [
                {"Id": str(index), "MessageBody": body} for index, body in enumerate(batch)
            ]
            refused = client.send_message_batch(QueueUrl=self._queue_url, Entries=entries).get("Failed", [])
            if refused:
                raise TransientError(
                    f"The embedded queue refused {len(refused)} of {len(batch)} messages ({refused[0].get('Code')}); publish again."
                )
            sent += len(batch)
            if progress is not None:
                progress(sent)
        return sent

    def depth(self) -> int:
        """Number of messages in the queue, those in flight included."""
        answer = self._opened().get_queue_attributes(
            QueueUrl=self._queue_url, AttributeNames=["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        )
        return sum(int(number) for number in answer["Attributes"].values())

    def _opened(self) -> SQSClient:
        if self._client is None:
            raise ConfigurationError("The embedded queue is closed; use it within its `with` block.")
        return self._client


def trickle(
    queue: EmbeddedQueue,
    stop: Event,
    *,
    seed: int | None = None,
    bundles_a_minute: float = 30.0,
    events_a_round: int = 300,
    progress: Callable[[int], None] | None = None,
) -> int:
    """Publish a small, steady stream of fresh bundles until ``stop`` is set; return the number of messages sent.

    Each round is a feed of its own: a few jobs of the last three hours. By default another stream each time: one seed at two
    times gives the same activity ids other contents. ``progress`` gets the number sent so far.
    """
    first = secrets.randbits(32) if seed is None else seed
    sent = 0
    for number in range(1_000_000):
        now = datetime.now(UTC)
        plan = FeedPlan(seed=first + number, events=events_a_round, jobs=3, start=now - timedelta(hours=3), end=now)
        for bundle in generate(plan).bundles:
            if stop.wait(60.0 / bundles_a_minute):
                return sent
            sent += queue.publish([bundle.body])
            if progress is not None:
                progress(sent)
    return sent


def _leave_bodies_alone() -> None:
    """Have moto's SQS give bodies back as they were sent.

    moto (5.2.5) writes its own id over everything between the first ``<RequestId>`` and the last ``</RequestId>`` of an answer
    (``BaseResponse._enrich_response``), for AWS's XML answers have one. Our bundles are full of such elements: of ten
    messages a receive gave back one, mangled. SQS answers in JSON, so its answers need no such change.
    """
    from moto.sqs.responses import SQSResponse  # noqa: PLC0415 - an optional dependency
    from moto.utilities.aws_headers import gen_amzn_requestid_long  # noqa: PLC0415 - an optional dependency

    def enrich(headers: dict[str, str], body: Any) -> tuple[dict[str, str], Any]:
        if "status" in headers:
            headers["status"] = str(headers["status"])
        gen_amzn_requestid_long(headers)
        return headers, body

    SQSResponse._enrich_response = staticmethod(enrich)  # type: ignore[method-assign]  # noqa: SLF001 - the only place to reach it


@cache
def _take_calls_in_turn() -> None:
    """Have moto's SQS do one thing at a time with a queue's messages, as its server answers each call from a thread of its own.

    Without it (moto 5.2.5) a delete lists what is left and puts that in the place of all messages, so that of two deletes at once
    one is undone, though it was answered with success; and two receives at once both get the same message. On a busy machine a
    demo of 449 messages left 12 in its queue. A long poll waits outside the turn: deletes and sends go on meanwhile.
    """
    from moto.sqs.models import Message, Queue, SQSBackend  # noqa: PLC0415 - an optional dependency

    turn = threading.RLock()

    def in_turn(method: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(method)
        def taken(*arguments: Any, **named: Any) -> Any:
            with turn:
                return method(*arguments, **named)

        return taken

    receive_now = in_turn(SQSBackend.receive_message)

    def receive_message(backend: SQSBackend, queue_name: str, count: int, wait_seconds: int, *more: Any) -> list[Message]:
        deadline = time.monotonic() + wait_seconds
        while True:
            found: list[Message] = receive_now(backend, queue_name, count, 0, *more)
            left = deadline - time.monotonic()
            if found or left <= 0:
                return found
            # In steps, for a message that becomes visible again wakes nobody.
            backend.get_queue(queue_name).wait_for_messages(min(left, 1))  # type: ignore[arg-type]

    SQSBackend.receive_message = receive_message  # type: ignore[method-assign,assignment]
    for owner, name in ((SQSBackend, "change_message_visibility"), (Queue, "delete_message"), (Queue, "add_message")):
        setattr(owner, name, in_turn(getattr(owner, name)))


def _with_duplicates(bodies: Iterable[str], share: float, rng: Random) -> Iterator[str]:
    """The bodies, and some of them a second time, not next to the first."""
    again: list[str] = []
    for body in bodies:
        yield body
        if share and rng.random() < share:
            again.append(body)
        if len(again) > _ENTRIES:
            yield again.pop(0)
    yield from again


def _batches(bodies: Iterable[str]) -> Iterator[list[str]]:
    """Batches of at most ten bodies and 256 KiB; a larger body goes alone."""
    batch: list[str] = []
    size = 0
    for body in bodies:
        length = len(body.encode())
        if batch and (len(batch) == _ENTRIES or size + length > _BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(body)
        size += length
    if batch:
        yield batch
