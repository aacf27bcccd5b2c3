"""The console blocks of a page: what is typed, and what must then be seen."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from mg_lakehouse_tests.cli.commands import command, environment

__all__ = ["Typed", "blocks", "fenced", "look", "look_here", "typed"]

_BLOCK: Final = re.compile(r"(?:^<!-- (?P<note>[^\n]*?) -->\n)?^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_ANYTHING: Final = "..."
_PROCESSES: Final = re.compile(r"[$|<>]|^mg-lakehouse (demo|dev|run|load)\b|^(?!mg-lakehouse )")
"""What a shell must read, what is of a process of its own, and what is no command of ours."""


class Typed(NamedTuple):
    """A command, and lines that its output must have, in this order, each with its words in a row."""

    command: str
    seen: tuple[str, ...]


def fenced(page: Path, language: str) -> Iterator[tuple[str, str]]:
    """The blocks of a language, each with the comment that stands right above it."""
    for match in _BLOCK.finditer(page.read_text(encoding="utf-8")):
        if match["language"] == language:
            yield match["note"] or "", match["text"]


def blocks(page: Path, note: str = "") -> list[Typed]:
    """What the page has one type, block after block: those with this note, or all that have none."""
    return [each for found, text in fenced(page, "console") if found == note for each in typed(text)]


def typed(text: str) -> list[Typed]:
    """The commands of a block; a line of three dots stands for any output."""
    parts = [part.splitlines() for part in re.split(r"^\$ ", text, flags=re.MULTILINE) if part.strip()]
    return [Typed(first, tuple(line for line in lines if line.strip() not in {"", _ANYTHING})) for first, *lines in parts]


def look(each: Typed, folder: Path, environment: Mapping[str, str]) -> None:
    """Type a command in a folder, and look at what it says.

    Raises:
        AssertionError: it failed, or a line is missing.
    """
    shell = ["bash", "-c", each.command]
    _look_at(each, subprocess.run(shell, cwd=folder, env=dict(environment), capture_output=True, text=True, check=False, timeout=240))


def look_here(each: Typed, folder: Path, variables: Mapping[str, str]) -> None:
    """Do as :func:`look` does, in this process where a command needs none of its own: two seconds of imports less.

    ``variables`` are added to an environment without ours.
    """
    if _PROCESSES.search(each.command):
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        look(each, folder, environment(folder, PATH=path, **variables))
    else:
        _look_at(each, command(folder, *shlex.split(each.command)[1:], **variables))


def _look_at(each: Typed, done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 0, f"$ {each.command}\n{done.stdout}{done.stderr}"
    said = " ".join(done.stdout.split())
    for line in each.seen:
        wanted = " ".join(line.split())
        assert wanted in said, f"$ {each.command}\nsays no {wanted!r}:\n{done.stdout}"
        said = said[said.index(wanted) + len(wanted) :]
