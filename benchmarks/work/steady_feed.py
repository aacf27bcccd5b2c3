"""A queue emulator with a steady feed, in a process of its own: ``python -m benchmarks.work.steady_feed <events a second> <log>``.

It says its environment as a line of JSON, waits for a line on its standard input, sends until that ends, and appends a line
``<first recipient's number> <seconds since the epoch>`` to the log for each message. Of a message's ten events seven are
deliveries to seven new recipients, and three are opens of recipients of a minute ago; a job begins every minute.
"""

from __future__ import annotations

import json
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from subprocess import PIPE, Popen
from typing import IO, Final

from benchmarks.harness.processes import ROOT
from mg_lakehouse.testing.sqs import SqsEmulator

__all__ = ["NEW", "SteadyFeed", "recipient", "steady_feed"]

NEW: Final = 7
"""New recipients in each message."""

_OPENS: Final = 3
_JOB_SECONDS: Final = 60


class SteadyFeed:
    """The feed as its starter sees it: ``environment`` reaches its queue, ``log`` has what was sent when."""

    def __init__(self, environment: Mapping[str, str], log: Path, starter: IO[str]) -> None:
        self.environment = environment
        self._log = log
        self._starter = starter

    def begin(self) -> None:
        """Start to send."""
        self._starter.write("\n")
        self._starter.flush()

    def sent(self) -> dict[int, float]:
        """When each recipient's delivery was sent, in seconds since the epoch."""
        if not self._log.exists():
            return {}
        lines = (line.split() for line in self._log.read_text().splitlines() if line.count(" ") == 1)
        return {int(first) + offset: float(at) for first, at in lines for offset in range(NEW)}


@contextmanager
def steady_feed(events_a_second: float, folder: Path) -> Iterator[SteadyFeed]:
    """A feed that sends nothing before it is told to begin, and ends with the block."""
    log = folder / "sent.txt"
    command = [sys.executable, "-m", "benchmarks.work.steady_feed", str(events_a_second), str(log)]
    with Popen(command, cwd=ROOT, stdin=PIPE, stdout=PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        try:
            yield SteadyFeed(json.loads(process.stdout.readline()), log, process.stdin)
        finally:
            process.stdin.close()


def recipient(number: int | str) -> str:
    """The sender's key of a recipient."""
    return f"F-{number}"


def _body(first: int, now: datetime, started: datetime, behind: int) -> str:
    """A message: deliveries to the recipients from ``first`` on, opens of those ``behind`` them, each in its own job."""
    at = now.strftime("%Y-%m-%dT%H:%M:%S.") + f"{now.microsecond // 1000:03d}Z"
    minute = int((now - started).total_seconds() // _JOB_SECONDS)
    items = [_item("DeliveredMessageActivity", at, minute, first + offset, "<MessageSize>20480</MessageSize>") for offset in range(NEW)]
    if minute:
        opened = range(first - behind, first - behind + _OPENS)
        items += [
            _item("OpenActivity", at, minute - 1, number, "<UserAgent>Mozilla/5.0 (Windows NT 10.0)</UserAgent>") for number in opened
        ]
    return f"<ActivityItems>{''.join(items)}</ActivityItems>"


def _item(element: str, at: str, job: int, number: int, own: str) -> str:
    common = (
        f"<ActivityId>{uuid.uuid4()}</ActivityId><Timestamp>{at}</Timestamp><RequestId>02-b26-{job:032x}</RequestId><CorrelationId>Job {job}</CorrelationId>"
        f"<RecipientId>{recipient(number)}</RecipientId><EmailAddress>example.{number}@gmail.com</EmailAddress><IpAddress>10.0.0.1</IpAddress>"
    )
    return f"<{element}>{common}{own}</{element}>"


def _send(emulator: SqsEmulator, events_a_second: float, log: IO[str], over: threading.Event) -> None:
    """Send at an even pace; a message that is late is sent at once, so that the rate holds."""
    interval = (NEW + _OPENS) / events_a_second
    behind = NEW * round(_JOB_SECONDS / interval)
    started, began, message = datetime.now(UTC), time.monotonic(), 0
    while not over.wait(max(0.0, began + message * interval - time.monotonic())):
        first = message * NEW
        emulator.publish([_body(first, datetime.now(UTC), started, behind)])
        log.write(f"{first} {time.time()}\n")
        log.flush()
        message += 1


def _serve(events_a_second: float, log: Path) -> None:
    over = threading.Event()
    with SqsEmulator() as emulator, log.open("w") as output:
        sys.stdout.write(json.dumps(emulator.environment) + "\n")
        sys.stdout.flush()
        if not sys.stdin.readline():
            return
        sender = threading.Thread(target=_send, args=(emulator, events_a_second, output, over), daemon=True)
        sender.start()
        sys.stdin.read()
        over.set()
        sender.join()


if __name__ == "__main__":
    _serve(float(sys.argv[1]), Path(sys.argv[2]))
