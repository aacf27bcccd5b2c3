"""The console blocks of a page: what is typed, and what must then be seen."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

__all__ = ["Typed", "blocks", "fenced", "look", "typed"]

_BLOCK: Final = re.compile(r"(?:^<!-- (?P<note>[^\n]*?) -->\n)?^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_ANYTHING: Final = "..."


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
    done = subprocess.run(
        ["bash", "-c", each.command], cwd=folder, env=dict(environment), capture_output=True, text=True, check=False, timeout=240
    )
    assert done.returncode == 0, f"$ {each.command}\n{done.stdout}{done.stderr}"
    said = " ".join(done.stdout.split())
    for line in each.seen:
        wanted = " ".join(line.split())
        assert wanted in said, f"$ {each.command}\nsays no {wanted!r}:\n{done.stdout}"
        said = said[said.index(wanted) + len(wanted) :]
