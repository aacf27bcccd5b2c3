"""A stand-in for MessageGears' AccountActivity API on a port of this machine: the daily files of a generated feed, and faults on demand.

It answers as documented: a POST of a form; a file with ``Content-Disposition``, zipped where ``UseCompression`` is ``TRUE``; an error as a
document with status 200 and without that header. What day an event is of goes by the time zone that it is given.
"""

from __future__ import annotations

import io
import os
import shutil
import threading
import zipfile
from collections import Counter, deque
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Final, Self
from urllib.parse import parse_qsl
from zoneinfo import ZoneInfo

from mg_lakehouse.events.catalogue import EVENTS, activity_types
from mg_lakehouse.testing.feed.feed import Feed
from mg_lakehouse.testing.feed.writing import escape

__all__ = ["ActivityApi", "ApiFault", "DailyFiles", "daily_files"]

DailyFiles = Mapping[tuple[date, str], list[str]]
"""The items of each day and type, as XML."""

_HOST: Final = "127.0.0.1"
_CHUNK: Final = 2**20
_NAMESPACE: Final = "http://messagegears.com/3.1/webService"
_TYPES: Final = {event.table: event.activity_type for event in EVENTS if event.activity_type is not None}
_UNNAMED: Final = {"MobilePushClickActivity": "MOBILE_PUSH_CLICKS", "SmsClickActivity": "SMS_CLICKS"}
_COUNTERS: Final = {
    "Clicks": "CLICKS",
    "Opens": "OPENS",
    "Bounces": "BOUNCES",
    "Unsubscribes": "UNSUBSCRIBES",
    "Deliveries": "DELIVERIES",
    "SpamComplaints": "SPAM_COMPLAINTS",
    "RenderErrors": "RENDER_ERRORS",
    "JobErrors": "JOB_ERRORS",
}


class ApiFault(StrEnum):
    """What can go wrong with the next answer."""

    ERROR_DOCUMENT = "error_document"
    """An internal error, as a document with status 200."""
    STATUS_500 = "status_500"
    STATUS_503 = "status_503"
    DROP = "drop"
    """The connection ends in the middle of the file, of which the length was announced."""
    DROP_UNANNOUNCED = "drop_unannounced"
    """The same, and nothing was announced."""
    TRUNCATED = "truncated"
    """The whole answer, of half a file."""
    DAMAGED = "damaged"
    """A byte in the middle of the file is another."""
    SLOW = "slow"
    """Nothing comes after the first bytes until the server ends or the client goes."""
    NOT_A_FILE = "not_a_file"
    """A page of HTML, with status 200."""
    BOMB = "bomb"
    """A small zip of very much."""
    REDIRECT = "redirect"
    TWO_FILES = "two_files"
    """A zip of two files."""


def daily_files(feed: Feed, zone: str = "America/New_York") -> dict[tuple[date, str], list[str]]:
    """The daily files of a feed's distinct valid events; those of types that have no files are in none."""
    found: dict[tuple[date, str], list[str]] = {}
    for row in feed.truth.rows:
        activity_type = _TYPES.get(row.table) or _UNNAMED.get(str(row.values.get("element")))
        at = row.values["event_at"]
        if activity_type is not None and isinstance(at, datetime):
            found.setdefault((at.astimezone(ZoneInfo(zone)).date(), activity_type), []).append(row.xml)
    return found


class ActivityApi:
    """A context manager: the server runs within it.

    Args:
        files: the files' items; any other day and type has an empty file.
        zips: files that are sent from disk, as the zips that they are, of any size and without faults.
        account_id: the account.
        api_key: its key.
        today: of this day and later ones there is no file yet.
    """

    def __init__(
        self,
        files: DailyFiles,
        *,
        zips: Mapping[tuple[date, str], Path] = MappingProxyType({}),
        account_id: str = "12345",
        api_key: str = "embedded-key",
        today: Callable[[], date] | None = None,
    ) -> None:
        self.files = dict(files)
        self.zips = zips
        self.account_id = account_id
        self.api_key = api_key
        self.today = today or (lambda: datetime.now(UTC).date())
        self.served: Counter[tuple[date, str]] = Counter()
        self.requests: list[tuple[str, dict[str, str]]] = []
        self._faults: deque[ApiFault] = deque()
        self._lock = threading.Lock()
        self.ended = threading.Event()

    def fail(self, *faults: ApiFault) -> None:
        """Have the next answers go wrong, one after the other."""
        self._faults.extend(faults)

    def next_fault(self) -> ApiFault | None:
        """The fault of the answer that is being made."""
        with self._lock:
            return self._faults.popleft() if self._faults else None

    def __enter__(self) -> Self:
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.ended.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        """Address of the service, for ``MG_API_URL``."""
        return f"http://{_HOST}:{self._server.server_address[1]}/3.1/WebService"

    @property
    def environment(self) -> dict[str, str]:
        """The variables with which any process of this machine fetches from here. The credentials are dummies."""
        direct = ",".join(filter(None, (os.environ.get("NO_PROXY"), _HOST)))
        return {"MG_ACCOUNT_ID": self.account_id, "MG_API_KEY": self.api_key, "MG_API_URL": self.url, "NO_PROXY": direct}

    def file(self, day: date, activity_type: str, call: int) -> bytes:
        """A day's file of a type, as XML; ``call`` is in the id of the call, which differs each time."""
        items = "".join(self.files.get((day, activity_type), ()))
        return _response(f"<ActivityDate>{day}</ActivityDate><ActivityItems>{items}</ActivityItems>", call=call)

    def counts(self, period: str, job: str | None = None) -> str:
        """Counters of the days that begin with a text, and of one job where that is given, as MessageGears summarises them."""
        holds = f"<RequestId>{job}</RequestId>" if job else ""
        lengths = dict.fromkeys(_COUNTERS, 0)
        for (day, kind), items in self.files.items():
            for name in (name for name, counted in _COUNTERS.items() if counted == kind and day.isoformat().startswith(period)):
                lengths[name] += sum(holds in item for item in items)
        return "".join(f"<{name}>{number}</{name}>" for name, number in lengths.items())


def _response(inner: str, *, call: int, result: str = "REQUEST_SUCCESSFUL", name: str = "AccountActivityResponse") -> bytes:
    # Items of the feed may have the prefix `mg`, which a file binds once.
    text = (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<{name} xmlns="{_NAMESPACE}" xmlns:mg="{_NAMESPACE}">'
        f"<RequestId>a{call:05d}-00000000</RequestId><Result>{result}</Result>{inner}</{name}>"
    )
    return text.encode()


def _error(code: str, text: str, call: int) -> bytes:
    error = f"<RequestErrors><RequestError><ErrorCode>{code}</ErrorCode><ErrorMessage>{escape(text)}</ErrorMessage></RequestError></RequestErrors>"
    return _response(error, call=call, result="REQUEST_FAILED")


def _zipped(name: str, content: bytes, *more: tuple[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for each, data in ((name, content), *more):
            archive.writestr(each, data)
    return buffer.getvalue()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, api: ActivityApi) -> None:
        super().__init__((_HOST, 0), _Handler)
        self.api = api

    def handle_error(self, *_: Any) -> None:
        """Say nothing of a client that went away in the middle of an answer."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def do_POST(self) -> None:
        api = self.server.api
        form = dict(parse_qsl(self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()))
        api.requests.append((self.path, form))
        fault, call = api.next_fault(), len(api.requests)
        if fault in _ANSWERS:
            status, body = _ANSWERS[fault]
            self._say(status, body or _error("INTERNAL_ERROR", "An internal error occurred", call), Location=api.url)
        elif (error := _refusal(api, form)) is not None:
            self._say(200, _error(*error, call))
        elif form["Action"] == "AccountActivity":
            self._file(form, fault, call)
        else:
            counts = f"<{form['Action']}>{api.counts(form.get('ActivityDate', ''), form.get('BulkJobRequestId'))}</{form['Action']}>"
            self._say(200, _response(counts, call=call, name=f"{form['Action']}Response"))

    def _file(self, form: dict[str, str], fault: ApiFault | None, call: int) -> None:
        api, day, kind = self.server.api, date.fromisoformat(form["ActivityDate"]), form["ActivityType"]
        api.served[day, kind] += 1
        if (packed := api.zips.get((day, kind))) is not None:
            self._announce(packed.name, packed.stat().st_size)
            with packed.open("rb") as file:
                shutil.copyfileobj(file, self.wfile, _CHUNK)
            return
        name, content = _packed(f"{day}_{kind}", api.file(day, kind, call), fault, zipped=form.get("UseCompression") == "TRUE")
        half = len(content) // 2
        self._announce(name, None if fault is ApiFault.DROP_UNANNOUNCED else len(content))
        broken = fault in (ApiFault.DROP, ApiFault.DROP_UNANNOUNCED, ApiFault.SLOW)
        self.close_connection = self.close_connection or broken
        self.wfile.write(content[:half] if broken else content)
        self.wfile.flush()
        if fault is ApiFault.SLOW:
            api.ended.wait(60)

    def _announce(self, name: str, length: int | None) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Disposition", f"attachment; filename={name}")
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def _say(self, status: int, body: bytes, **headers: str) -> None:
        kind = "text/html" if body.startswith(b"<html") else "text/xml"
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


_ANSWERS: Final[dict[ApiFault | None, tuple[int, bytes]]] = {
    ApiFault.STATUS_500: (500, b"<html>sorry</html>"),
    ApiFault.STATUS_503: (503, b"<html>sorry</html>"),
    ApiFault.REDIRECT: (302, b"<html>elsewhere</html>"),
    ApiFault.NOT_A_FILE: (200, b"<html><body>Sign in</body></html>"),
    ApiFault.ERROR_DOCUMENT: (200, b""),
}


def _packed(name: str, content: bytes, fault: ApiFault | None, *, zipped: bool) -> tuple[str, bytes]:
    """Name and bytes of a file as it is sent, or as the fault has it."""
    if fault is ApiFault.BOMB:
        content = content.replace(b"</ActivityItems>", b" " * 2**23 + b"</ActivityItems>")
    if zipped:
        more = [("another.xml", b"<x/>")] if fault is ApiFault.TWO_FILES else []
        name, content = f"{name}.zip", _zipped(f"{name}.xml", content, *more)
    half = len(content) // 2
    if fault is ApiFault.TRUNCATED:
        content = content[:half]
    elif fault is ApiFault.DAMAGED:
        content = content[:half] + bytes([content[half] ^ 0xFF]) + content[half + 1 :]
    return name, content


def _refusal(api: ActivityApi, form: Mapping[str, str]) -> tuple[str, str] | None:
    """Code and text of the error that a call is answered with, if it is wrong."""
    if (form.get("AccountId"), form.get("ApiKey")) != (api.account_id, api.api_key):
        return "AuthenticationException", f"The ApiKey {form.get('ApiKey')} is not valid for this account"
    if form.get("Action") not in ("AccountActivity", "AccountSummary", "BulkJobSummary"):
        return "INVALID_ACTION", "Action is not known"
    if form["Action"] != "AccountActivity":
        return None
    if form.get("ActivityType") not in activity_types():
        return "INVALID_VALUE", "ActivityType: this field has no such value"
    return _not_there(date.fromisoformat(form.get("ActivityDate", "")), api.today())


def _not_there(day: date, today: date) -> tuple[str, str] | None:
    if day > today:
        return "INVALID_VALUE", "ActivityDate: this field cannot be a date in the future"
    if day == today:
        return "NOT_AVAILABLE", "The activity file is not available until after 8 am the following day"
    return None
