"""The emulator behind a socket: HTTP/1.1 with keep-alive and "AWS JSON 1.0", so that boto3 talks to it unchanged.

The HTTP is cut by hand, for the client is always boto3: a POST with a content length. That is simpler than a web framework
here and leaves most of the time to boto3.
"""

from __future__ import annotations

import asyncio
import functools
import json
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from random import Random
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

import boto3
from botocore.config import Config

from mg_lakehouse.errors import ConfigurationError
from mg_lakehouse.testing.addresses import ACCESS_KEY, HOST, REGION, SECRET_KEY, past_proxies
from mg_lakehouse.testing.sqs.calls import Account
from mg_lakehouse.testing.sqs.clock import Clock, RealClock
from mg_lakehouse.testing.sqs.errors import SqsError
from mg_lakehouse.testing.sqs.faults import Fault, Faults
from mg_lakehouse.testing.sqs.model import Queue

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

__all__ = ["SqsEmulator"]

# Looking again is cheaper to get right than waking those who wait, and costs a waiting receiver 20 ms at most.
_LOOK_AGAIN_SECONDS: Final = 0.02
# A copy is sent after at least so many others, so that one receive rarely brings both.
_BETWEEN_COPIES: Final = 10
_CALL_FAULTS: Final = {
    Fault.THROTTLED: SqsError("ThrottlingException", "Rate exceeded"),
    Fault.REQUEST_THROTTLED: SqsError("RequestThrottled", "The request was denied due to request throttling.", status=503),
    Fault.INTERNAL_ERROR: SqsError("InternalFailure", "We encountered an internal error. Please try again.", status=500, sender=False),
}


_making_a_client: Final = threading.Lock()


@functools.cache
def _session() -> boto3.session.Session:
    """One for all: a session reads the description of SQS anew, a tenth of a second. It makes one client at a time."""
    return boto3.session.Session()


class SqsEmulator:
    """A context manager: the server answers within it, on 127.0.0.1 and a free port, and holds one queue to begin with.

    Safe to use from many threads, as the queue is for many clients.

    Args:
        name: of the first queue.
        clock: what visibility, delays and retention go by; the machine's time by default, or a :class:`.VirtualClock`.
        seed: messages are delivered in no order that is chosen by it; without one, about in that of their arrival.
        options: further fields of the first :class:`.Queue`, such as ``visibility_seconds``, which is 30 as with SQS.

    Attributes:
        account: all queues; ``account.create`` makes further ones, for dead letters for example.
        queue: the first queue, to be looked at from within: ``counts()``, ``message_ids()``, ``deleted``.
        faults: what goes wrong; ``faults.add`` sets a rule.
        calls: how often each call of the API arrived, by its name.
        endpoint_url: address of the server, for ``AWS_ENDPOINT_URL``.
    """

    def __init__(self, *, name: str = "messagegears-events", clock: Clock | None = None, seed: int | None = None, **options: Any) -> None:
        self.clock: Clock = clock or RealClock()
        self.faults = Faults()
        self.account = Account(self.clock, self.faults, seed=seed)
        self.queue: Queue = self.account.create(name, **options)
        self.endpoint_url = ""
        self.calls: dict[str, int] = {}
        self._called = threading.Condition()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._connections: set[_Connection] = set()
        self._clients: list[SQSClient] = []

    def __enter__(self) -> Self:
        self._loop = loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=loop.run_forever, name="sqs-emulator", daemon=True)
        self._thread.start()
        try:
            self._server = asyncio.run_coroutine_threadsafe(self._serve(loop), loop).result()
        except BaseException:
            self._end(loop)
            raise
        host, port = self._server.sockets[0].getsockname()
        self.endpoint_url = self.account.endpoint_url = f"http://{host}:{port}"
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        loop, self._loop = self._opened(), None
        for client in self._clients:
            client.close()
        asyncio.run_coroutine_threadsafe(self._stop(), loop).result()
        self._end(loop)

    @property
    def queue_url(self) -> str:
        """Address of the first queue, for ``MG_QUEUE_URL``."""
        return self.account.url_of(self.queue)

    @property
    def environment(self) -> dict[str, str]:
        """The variables with which any process of this machine reads the first queue. The credentials are dummies."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_REGION": REGION,
            "MG_QUEUE_URL": self.queue_url,
            **past_proxies(),
        }

    def client(self, *, attempts: int = 1) -> SQSClient:
        """A new boto3 client of the server that tries a call so many times; it looks at no variable and no file of the machine's.

        Raises:
            ConfigurationError: the emulator is closed.
        """
        self._opened()
        config = Config(
            proxies={},
            retries={"mode": "standard", "total_max_attempts": attempts},
            max_pool_connections=32,
            parameter_validation=False,
        )
        with _making_a_client:
            client = _session().client(
                "sqs",
                endpoint_url=self.endpoint_url,
                region_name=REGION,
                aws_access_key_id=ACCESS_KEY,
                aws_secret_access_key=SECRET_KEY,
                config=config,
            )
        self._clients.append(client)
        return client

    def publish(
        self, bodies: Iterable[str], *, duplicates: float = 0.0, seed: int = 0, progress: Callable[[int], None] | None = None
    ) -> list[str]:
        """Put bodies into the first queue in their order, and the share ``duplicates`` of them once more; return the message ids.

        Not through the network, and so without SQS's limits: a body of any size and of any characters comes as it was sent.
        ``progress`` is called with the number of messages sent so far.

        Raises:
            ConfigurationError: the emulator is closed.
        """
        self._opened()
        sent: list[str] = []
        for body in _with_duplicates(bodies, duplicates, Random(seed)):
            sent.append(self.queue.send(body).message_id)
            if progress is not None:
                progress(len(sent))
        return sent

    def depth(self) -> int:
        """Number of messages in the first queue, those in flight and the delayed ones included.

        Raises:
            ConfigurationError: the emulator is closed.
        """
        self._opened()
        return sum(self.queue.counts())

    def count(self, call: str) -> None:
        """Count a call that arrived; by name in ``calls``."""
        with self._called:
            self.calls[call] = self.calls.get(call, 0) + 1
            self._called.notify_all()

    def wait_for(self, call: str, count: int = 1, *, seconds: float = 60) -> None:
        """Wait until so many of these calls arrived.

        Raises:
            TimeoutError: fewer arrived in ``seconds``.
        """
        with self._called:
            if not self._called.wait_for(lambda: self.calls.get(call, 0) >= count, seconds):
                raise TimeoutError(f"{call} was called {self.calls.get(call, 0)} times in {seconds} seconds, not {count} times.")

    def _opened(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            raise ConfigurationError("The SQS emulator is closed: use it within its `with` block.")
        return self._loop

    async def _serve(self, loop: asyncio.AbstractEventLoop) -> asyncio.Server:
        return await loop.create_server(lambda: _Connection(self, self._connections), HOST, 0)

    async def _stop(self) -> None:
        self._server.close()
        for connection in list(self._connections):
            connection.abort()
        waiting = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    def _end(self, loop: asyncio.AbstractEventLoop) -> None:
        loop.call_soon_threadsafe(loop.stop)
        self._thread.join()
        loop.close()


def _with_duplicates(bodies: Iterable[str], share: float, rng: Random) -> Iterator[str]:
    """The bodies, and some of them a second time, not next to the first."""
    again: list[str] = []
    for body in bodies:
        yield body
        if share and rng.random() < share:
            again.append(body)
        if len(again) > _BETWEEN_COPIES:
            yield again.pop(0)
    yield from again


class _Connection(asyncio.Protocol):
    """A connection; its requests are answered one after the other."""

    def __init__(self, emulator: SqsEmulator, connections: set[_Connection]) -> None:
        self._emulator = emulator
        self._connections = connections
        self._received = bytearray()
        self._transport: asyncio.Transport | None = None
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self._connections.discard(self)
        self._transport = None
        if self._task is not None:
            self._task.cancel()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._received += data
        if self._task is None:
            self._next()

    def _next(self) -> None:
        """Answer a request if a whole one has arrived."""
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            return
        headers = _headers(bytes(self._received[:end]))
        whole = end + 4 + int(headers.get("content-length", "0"))
        if len(self._received) < whole:
            return
        body = bytes(self._received[end + 4 : whole])
        del self._received[:whole]
        self._task = asyncio.get_running_loop().create_task(self._answer(headers, body))

    async def _answer(self, headers: Mapping[str, str], body: bytes) -> None:
        call = headers.get("x-amz-target", "").rpartition(".")[2]
        faults = self._emulator.faults
        self._emulator.count(call)
        if slow := faults.strike(Fault.SLOW, call):
            await asyncio.sleep(slow.seconds)
        if faults.strike(Fault.DROPPED, call):
            self._drop()
            return
        try:
            for fault, error in _CALL_FAULTS.items():
                if faults.strike(fault, call):
                    raise error
            answer = await self._call(call, json.loads(body or b"{}"))
        except SqsError as error:
            response = _response(error.status, {"__type": f"com.amazonaws.sqs#{error.shape}", "message": error.message}, error)
        else:
            response = _response(200, answer)
        if faults.strike(Fault.ANSWER_LOST, call):
            self._drop()
            return
        if self._transport is not None:
            self._transport.write(response)
        self._task = None
        self._next()

    async def _call(self, call: str, request: Mapping[str, Any]) -> dict[str, Any]:
        """Make the call; a receive looks again until its time is over, or at once where time does not pass by itself."""
        emulator = self._emulator
        answer = emulator.account.call(call, request)
        if call != "ReceiveMessage" or answer or not emulator.clock.passes:
            return answer
        deadline = emulator.clock.now() + emulator.account.long_poll_seconds(request)
        while not answer and self._transport is not None and emulator.clock.now() < deadline:
            await asyncio.sleep(_LOOK_AGAIN_SECONDS)
            answer = emulator.account.call(call, request)
        return answer

    def _drop(self) -> None:
        if self._transport is not None:
            self._transport.close()


def _headers(head: bytes) -> dict[str, str]:
    lines = (line.partition(":") for line in head.decode("latin-1").split("\r\n")[1:])
    return {name.lower(): value.strip() for name, _, value in lines}


def _response(status: int, answer: Mapping[str, Any], error: SqsError | None = None) -> bytes:
    body = json.dumps(answer).encode()
    query_error = f"x-amzn-query-error: {error.code};{'Sender' if error.sender else 'Receiver'}\r\n" if error else ""
    head = (
        f"HTTP/1.1 {status} {'OK' if status == 200 else 'Error'}\r\nContent-Type: application/x-amz-json-1.0\r\n"
        f"x-amzn-RequestId: {uuid.uuid4()}\r\n{query_error}Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
