"""The queue emulator in a process of its own, so that its work is not the drain's: ``python -m benchmarks.work.queue_process <feed> <messages>``.

It says its environment as a line of JSON once the queue is full, and ends when its standard input does.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import cycle, islice
from pathlib import Path
from subprocess import PIPE, Popen

import polars as pl

from benchmarks.harness.processes import ROOT
from mg_lakehouse.testing.sqs import SqsEmulator

__all__ = ["filled_queue"]


@contextmanager
def filled_queue(feed: Path, messages: int) -> Iterator[Mapping[str, str]]:
    """A queue that holds so many messages of a feed, in another process; the variables with which it is reached."""
    command = [sys.executable, "-m", "benchmarks.work.queue_process", str(feed), str(messages)]
    with Popen(command, cwd=ROOT, stdin=PIPE, stdout=PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        try:
            yield json.loads(process.stdout.readline())
        finally:
            process.stdin.close()


def _serve(feed: Path, messages: int) -> None:
    bodies = pl.read_parquet(feed)["body"].to_list()
    with SqsEmulator() as emulator:
        emulator.publish(islice(cycle(bodies), messages))
        sys.stdout.write(json.dumps(emulator.environment) + "\n")
        sys.stdout.flush()
        sys.stdin.read()


if __name__ == "__main__":
    _serve(Path(sys.argv[1]), int(sys.argv[2]))
