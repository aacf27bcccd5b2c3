"""The command line ``mg-lakehouse``, as a person uses it: in this process for what it says, in one of its own where that is the point."""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple, cast
from unittest.mock import patch

import pytest

from mg_lakehouse.cli.app import main
from mg_lakehouse.cli.output import err as err_console
from mg_lakehouse.cli.output import out as out_console
from mg_lakehouse.testing.samples import samples
from mg_lakehouse.testing.sqs import SqsEmulator
from mg_lakehouse_tests.templates import copied, made_once

COMMAND: Final = str(Path(sys.executable).parent / "mg-lakehouse")


def environment(folder: Path, **variables: str) -> dict[str, str]:
    """The caller's environment without its AWS, Dagster or own variables, and with no credentials of the machine."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "MG_", "DAGSTER_", "MAKE"))}
    alone = {
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": str(folder / "none"),
        "AWS_SHARED_CREDENTIALS_FILE": str(folder / "none"),
    }
    return kept | alone | variables


def process(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the installed command in a process of its own, in a folder, with these variables."""
    return subprocess.run(
        [COMMAND, *arguments], cwd=folder, env=environment(folder, **variables), capture_output=True, text=True, check=False, timeout=180
    )


def command(folder: Path, *arguments: str, encoding: str = "utf-8", **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the command's entry point in this process, in a folder, with these variables and no others: without the seconds of its imports.

    ``encoding`` is that of standard output and error. A byte that it lacks is a surrogate in what is returned.
    """
    status: object = 0
    width = int(variables["COLUMNS"]) if "COLUMNS" in variables else None
    with (
        _stream(encoding) as out,
        _stream(encoding) as err,
        _surroundings(folder, variables),
        patch.multiple(sys, argv=[COMMAND, *arguments], stdout=out, stderr=err, stdin=io.TextIOWrapper(io.BytesIO())),
        # The consoles take their width of the environment when they are made.
        patch.object(out_console, "_width", width),
        patch.object(err_console, "_width", width),
    ):
        try:
            main()
        except SystemExit as end:
            status = end.code
        return subprocess.CompletedProcess([COMMAND, *arguments], int(str(status or 0)), _text(out), _text(err))


@contextmanager
def _surroundings(folder: Path, variables: dict[str, str]) -> Iterator[None]:
    """A folder and an environment, and as they were afterwards all that the entry point sets for its process."""
    dagster = logging.getLogger("dagster")
    level = dagster.level
    with chdir(folder), warnings.catch_warnings(), patch.dict(os.environ, environment(folder, **variables), clear=True):
        try:
            yield
        finally:
            dagster.setLevel(level)


def _stream(encoding: str) -> io.TextIOWrapper:
    """A stream with a file below it, as standard output has."""
    return io.TextIOWrapper(cast("BinaryIO", tempfile.TemporaryFile()), encoding=encoding, write_through=True)


def _text(stream: io.TextIOWrapper) -> str:
    stream.seek(0)
    stream.reconfigure(errors="surrogateescape")
    return stream.read()


def sentence(done: subprocess.CompletedProcess[str]) -> str:
    """The one error that was printed, on one line."""
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert len(lines) == 1, done.stderr
    return lines[0]


class SamplesRan(NamedTuple):
    """What `mg-lakehouse run --max-messages 17` printed over the 17 samples and 11 empty bundles behind them, and how many messages it left."""

    said: str
    left: int


def samples_ran(factory: pytest.TempPathFactory, folder: Path) -> SamplesRan:
    """Copy the lake that the samples became, with gold, to `.lake` in a folder. The command ran once for all tests, in a process of its own."""

    def make(ran: Path) -> None:
        with SqsEmulator() as queue:
            queue.publish([*samples().values(), *["<ActivityItems/>"] * 11])
            done = process(ran, "run", "--max-messages", "17", **queue.environment)
            assert done.returncode == 0, done.stderr
            (ran / "ran.json").write_text(json.dumps([done.stdout, queue.depth()]))

    template = made_once(factory, "samples-ran", make)
    copied(template / ".lake", folder / ".lake")
    return SamplesRan(*json.loads((template / "ran.json").read_text()))
