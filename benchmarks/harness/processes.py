"""A piece of work in a process of its own: what it answered, and the most memory that it and its children held.

The contract is the same for our own work and for peers in other environments: the command gets a file with its
parameters and the name of a file for its answer, both JSON. A process of its own, because memory that one contender took
would be there for the next, and because a JVM or a pool of threads that is warm would flatter whoever comes second.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from benchmarks.harness.memory import MemoryCurve, MemoryPoint

__all__ = ["Done", "WorkFailedError", "run", "work_command"]

ROOT: Final = Path(__file__).resolve().parents[2]
_LAST_LINES: Final = 30


class WorkFailedError(Exception):
    """A piece of work ended with an error; the text has the end of what it printed."""


@dataclass(frozen=True, slots=True)
class Done:
    """A piece of work that is done. ``answer`` is what it wrote, ``peak_bytes`` the most that the process tree held resident.

    Pages that two processes of the tree share count for each.
    """

    answer: Mapping[str, Any]
    peak_bytes: int
    memory: Sequence[MemoryPoint] = field(default=())


def work_command(name: str) -> list[str]:
    """The command of a piece of work of :mod:`benchmarks.work`, in this environment."""
    return [sys.executable, "-m", "benchmarks.work", name]


def run(command: Sequence[str], parameters: Mapping[str, Any], *, environment: Mapping[str, str] | None = None) -> Done:
    """Run a piece of work to its end.

    Args:
        command: what to start; the files of parameters and answer are added to it.
        parameters: what it gets, as JSON.
        environment: variables beside the caller's.

    Raises:
        WorkFailedError: it ended with an error, or without an answer.
    """
    with tempfile.TemporaryDirectory(prefix="mg-bench-") as folder:
        asked, answered, said = (Path(folder, name) for name in ("parameters.json", "answer.json", "output.txt"))
        asked.write_text(json.dumps(dict(parameters)))
        with said.open("wb") as output:
            process = subprocess.Popen(
                [*command, str(asked), str(answered)],
                cwd=ROOT,
                env=os.environ | dict(environment or {}),
                stdout=output,
                stderr=subprocess.STDOUT,
            )
            try:
                with MemoryCurve(process.pid) as memory:
                    status = process.wait()
            finally:
                process.kill()  # where we are interrupted; nothing once it has ended
        if status != 0 or not answered.is_file():
            end = "\n".join(said.read_text(errors="replace").splitlines()[-_LAST_LINES:])
            raise WorkFailedError(f"{' '.join(command[-3:])} ended with status {status}:\n{end}")
        return Done(json.loads(answered.read_text()), memory.peak_bytes, tuple(memory.points))
