"""Faults on the way to an S3 server: an HTTP/1.1 proxy in a process of its own that passes requests on, but for the rules.

Requests are path-style and go on with the Host header as it was signed: SigV4 signs Host, and the server reckons with
the one it is sent, so a signature made for the proxy's address holds behind it. Only what belongs to one connection
(Connection, Expect) is not passed on; neither is signed.

A rule says which requests it strikes, how often and by what fault; how often it did is counted. Chance is by seed and by
the rule's own count of matching requests, so that a run can be repeated as far as the requests come in the same order.

Every request is noted, for whoever asks what is called and how often.
"""

from __future__ import annotations

import http.client
import json
import random
import re
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Final, Literal, NamedTuple, Self
from urllib.parse import unquote, urlsplit

from mg_lakehouse.testing.addresses import HOST, s3_environment

__all__ = ["FaultProxy", "Request", "Rule"]

Fault = Literal["error_before", "error_after", "drop_before", "drop_after", "drop_in_upload", "drop_in_answer", "slow"]
"""``before`` the effect or ``after`` it; ``slow`` passes on late. A drop closes the connection without a word more."""

_CONTROL: Final = "/-/rules"
"""Where the rules are set and counted. No bucket has a name of one character."""

_SEEN: Final = "/-/requests"
"""Where the requests are given since it was last asked for them."""

_PIECE: Final = 64 * 1024
_CODES: Final = {403: "AccessDenied", 409: "ConditionalRequestConflict", 412: "PreconditionFailed", 500: "InternalError", 503: "SlowDown"}
_OF_ONE_CONNECTION: Final = {"connection", "expect", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A fault on some requests.

    ``key`` is a regular expression, looked for in the path; ``first`` matching requests are let pass, then at most ``count`` are
    struck, each with the probability ``share``.
    """

    fault: Fault
    method: str = ".*"
    key: str = ""
    status: int = 503
    first: int = 0
    count: int | None = 1
    share: float = 1.0
    seed: int = 0
    seconds: float = 0.2


class Request(NamedTuple):
    """A request that was dealt with: its path without escapes, its query as it was, and the status that the server answered with.

    ``status`` is 0 where a fault kept the server's answer or the request back. ``keys`` are those that a request deletes together.
    """

    method: str
    path: str
    query: str
    status: int
    keys: tuple[str, ...]


class FaultProxy:
    """A context manager: the proxy answers within it, in front of ``upstream``."""

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream
        self._process: subprocess.Popen[str] | None = None
        self._endpoint_url = ""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "mg_lakehouse.testing.s3_proxy", self._upstream],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={"PYTHONPATH": ":".join(path for path in sys.path if path)},
        )
        assert self._process.stdout is not None
        port = self._process.stdout.readline().strip()
        if not port:
            raise RuntimeError(f"The proxy did not start; it ended with {self._process.wait()}.")
        self._endpoint_url = f"http://{HOST}:{port}"
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.communicate()

    @property
    def endpoint_url(self) -> str:
        """Address of the proxy."""
        return self._endpoint_url

    @property
    def environment(self) -> dict[str, str]:
        """The standard variables with which any process of this machine uses the server through the proxy."""
        return s3_environment(self._endpoint_url)

    @contextmanager
    def rules(self, *rules: Rule) -> Iterator[None]:
        """Have these rules, and no others, until the end of the block. Their counts can be asked for within it."""
        self._ask("PUT", [asdict(rule) for rule in rules])
        try:
            yield
        finally:
            self._ask("PUT", [])

    def struck(self) -> list[int]:
        """How many requests each of the rules struck so far."""
        return [int(count) for count in self._ask("GET")]

    def seen(self) -> list[Request]:
        """The requests since this was last asked, in the order in which they were answered; those that were struck among them.

        What a client has the answer of is among them: it is noted before it is answered.
        """
        return [Request(*each)._replace(keys=tuple(each[-1])) for each in self._ask("GET", where=_SEEN)]

    def _ask(self, method: str, body: Any = None, *, where: str = _CONTROL) -> Any:
        data = None if body is None else json.dumps(body).encode()
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        request = urllib.request.Request(self._endpoint_url + where, method=method, data=data)  # noqa: S310 - our own address
        with opener.open(request, timeout=10) as answer:
            return json.load(answer)


class _ActiveRule:
    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.struck = 0
        self._matched = 0
        self._chance = random.Random(rule.seed)
        self._method = re.compile(rule.method)
        self._key = re.compile(rule.key)

    def strikes(self, method: str, path: str) -> bool:
        rule = self.rule
        if not (self._method.fullmatch(method) and self._key.search(path)):
            return False
        self._matched += 1
        chosen = self._chance.random() < rule.share
        if self._matched <= rule.first or not chosen or (rule.count is not None and self.struck >= rule.count):
            return False
        self.struck += 1
        return True


class _Rules:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._active: list[_ActiveRule] = []

    def set(self, rules: Sequence[Rule]) -> None:
        with self._lock:
            self._active = [_ActiveRule(rule) for rule in rules]

    def counts(self) -> list[int]:
        with self._lock:
            return [active.struck for active in self._active]

    def choose(self, method: str, path: str) -> Rule | None:
        """The first rule that strikes."""
        with self._lock:
            return next((active.rule for active in self._active if active.strikes(method, path)), None)


class _Seen:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: list[Request] = []

    def note(self, request: Request) -> None:
        with self._lock:
            self._requests.append(request)

    def take(self) -> list[Request]:
        with self._lock:
            taken, self._requests = self._requests, []
        return taken


class _DroppedError(Exception):
    """The connection ends here."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # An answer's head and body are two writes: with Nagle's algorithm the second waits 40 ms for the first's acknowledgement.
    disable_nagle_algorithm = True
    upstream = ""
    rules = _Rules()
    seen = _Seen()
    _request: Request | None = None
    """What is not noted yet."""
    _read: bytes | None = None

    def do_GET(self) -> None:
        if self.path == _CONTROL:
            self._control()
            return
        if self.path == _SEEN:
            self._answer(200, json.dumps(self.seen.take()).encode(), "application/json")
            return
        try:
            self._handle_request()
        except _DroppedError:
            self.close_connection = True
        except (OSError, http.client.HTTPException):
            self.close_connection = True

    do_PUT = do_POST = do_DELETE = do_HEAD = do_GET  # noqa: N815

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def _control(self) -> None:
        if self.command == "PUT":
            length = int(self.headers["Content-Length"])
            self.rules.set([Rule(**rule) for rule in json.loads(self.rfile.read(length))])
        self._answer(200, json.dumps(self.rules.counts()).encode(), "application/json")

    def _handle_request(self) -> None:
        address = urlsplit(self.path)
        path = unquote(address.path)
        self._read = b"".join(self._body()) if address.query == "delete" else None
        keys = tuple(key.decode() for key in re.findall(rb"<Key>([^<]*)</Key>", self._read or b""))
        self._request = Request(self.command, path, address.query, 0, keys)
        try:
            self._deal_with(path)
        finally:
            self._note(0)

    def _note(self, status: int) -> None:
        """Note the request, once. A client goes on when it has the answer, and may ask at once what was seen: what it did last was then missing."""
        if self._request is not None:
            self.seen.note(self._request._replace(status=status))
            self._request = None

    def _deal_with(self, path: str) -> None:
        rule = self.rules.choose(self.command, path)
        match rule:
            case None:
                self._pass_on()
            case Rule(fault="slow"):
                time.sleep(rule.seconds)
                self._pass_on()
            case Rule(fault="error_before"):
                for _ in self._body():
                    pass
                self._refuse(rule.status)
            case Rule(fault="error_after"):
                self._upstream_answer()[1]()
                self._refuse(rule.status)
            case Rule(fault="drop_before"):
                raise _DroppedError
            case Rule(fault="drop_after"):
                self._upstream_answer()[1]()
                raise _DroppedError
            case Rule(fault="drop_in_upload"):
                self._upload_half()
                raise _DroppedError
            case Rule(fault="drop_in_answer"):
                self._pass_on(half=True)
                raise _DroppedError

    def _pass_on(self, *, half: bool = False) -> None:
        answer, drain = self._upstream_answer()
        length = answer.getheader("Content-Length")
        bodiless = self.command == "HEAD" or answer.status in (204, 304)
        chunked = length is None and not bodiless
        whole = 0 if bodiless or length is None else int(length)
        if half and not whole:
            self.wfile.write(b"HTTP/1.1 2")
            drain()
            raise _DroppedError
        self._note(answer.status)
        self.send_response_only(answer.status, answer.reason)
        for name, value in answer.getheaders():
            if name.lower() not in _OF_ONE_CONNECTION:
                self.send_header(name, value)
        if chunked:
            self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        left = whole // 2 if half else None
        while not bodiless and (piece := answer.read(_PIECE if left is None else min(_PIECE, left))):
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece)
            left = None if left is None else left - len(piece)
        if half:
            raise _DroppedError
        if chunked:
            self.wfile.write(b"0\r\n\r\n")
        drain()

    def _upstream_answer(self) -> tuple[http.client.HTTPResponse, Any]:
        """The server's answer to the request, and what reads the rest of it and lets the connection go."""
        connection = self._send(self._body())
        answer = connection.getresponse()

        def drain() -> None:
            answer.read()
            connection.close()

        return answer, drain

    def _upload_half(self) -> None:
        """Give the server half of the body and then nothing more."""
        length = int(self.headers.get("Content-Length") or 0)

        def first_half() -> Iterator[bytes]:
            sent = 0
            for piece in self._body():
                yield piece[: length // 2 - sent]
                sent += len(piece)
                if sent >= length // 2:
                    return

        self._send(first_half()).close()

    def _send(self, body: Iterator[bytes]) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection(urlsplit(self.upstream).netloc, timeout=60)
        connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() not in _OF_ONE_CONNECTION:
                connection.putheader(name, value)
        chunked = self.headers.get("Transfer-Encoding", "").lower() == "chunked"
        if chunked:
            connection.putheader("Transfer-Encoding", "chunked")
        connection.endheaders()
        for piece in body:
            connection.send(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece)
        if chunked:
            connection.send(b"0\r\n\r\n")
        return connection

    def _body(self) -> Iterator[bytes]:
        """The request's body, piece by piece."""
        if self._read is not None:
            yield self._read
            return
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            while size := int(self.rfile.readline().split(b";")[0], 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return
        left = int(self.headers.get("Content-Length") or 0)
        while left:
            piece = self.rfile.read(min(_PIECE, left))
            if not piece:
                raise _DroppedError
            left -= len(piece)
            yield piece

    def _refuse(self, status: int) -> None:
        self._note(0)
        code = _CODES[status]
        self._answer(status, f"<Error><Code>{code}</Code><Message>A fault of the tests.</Message></Error>".encode(), "application/xml")

    def _answer(self, status: int, body: bytes, content_type: str) -> None:
        self.send_response_only(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # Many clients connect at once, and the default of five waiting ones drops some.
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients go away in the middle; that is what is tested."""


def _serve(upstream: str) -> None:
    """Serve until standard input ends, which it does when the test is gone."""
    _Handler.upstream = upstream
    server = _Server((HOST, 0), _Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_address[1], flush=True)  # noqa: T201  what the caller waits for
    sys.stdin.read()


if __name__ == "__main__":
    _serve(sys.argv[1])
