"""A power cut: what of a lake is on disk at a moment, by the syncs that the processes made which wrote it, and nothing else.

A process that is started with :func:`watched` writes down what it syncs (`synced.c`, loaded before it): each file with its size then, each folder with
its names then. What was not synced may be there after a power cut or not, and of a file that is there any part: :class:`Left` says which.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Final, Literal

Left = Literal["nothing", "names", "halves", "anything"]
"""What the cut leaves of what was not synced: nothing; names with no content, as ext4 does; names with half of it; by chance any of that, or all."""

_SOURCE: Final = Path(__file__).with_name("synced.c")


def watcher(folder: Path) -> Path | None:
    """The library that watches syncs; ``None`` where there is no compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    library = folder / "synced.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(_SOURCE), "-ldl"], check=True)
    return library


def watched(library: Path, log: Path) -> dict[str, str]:
    """Variables of a process whose syncs are written down in ``log``."""
    return {"LD_PRELOAD": str(library), "SYNCED_LOG": str(log)}


@dataclass(slots=True)
class OnDisk:
    """What was synced: files with their sizes, folders with their names."""

    files: dict[Path, int] = field(default_factory=dict)
    folders: dict[Path, set[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, log: Path) -> OnDisk:
        found = cls()
        for line in log.read_text().splitlines() if log.exists() else ():
            kind, path, *rest = line.split("\t")
            if kind == "F":
                found.files[Path(path)] = int(rest[0])
            else:
                found.folders[Path(path)] = set(rest)
        return found

    def has_name(self, path: Path) -> bool:
        """Whether a file or folder is found by its name."""
        return path.name in self.folders.get(path.parent, ())


def cut(lake: Path, log: Path, to: Path, left: Left, *, seed: int = 0) -> Path:
    """The lake as it is found when the power comes back, in another place.

    Args:
        lake: the lake that was being written.
        log: what was synced by then.
        to: where it is made.
        left: what is left of what was not synced.
        seed: of the chance.
    """
    disk, rng = OnDisk.of(log), Random(seed)
    ways: Mapping[Left, Callable[[], Left | None]] = {
        "nothing": lambda: "nothing",
        "names": lambda: "names",
        "halves": lambda: "halves",
        "anything": lambda: rng.choice(["nothing", "names", "halves", None]),
    }

    def copy(source: Path, target: Path) -> None:
        way = ways[left]()
        if way == "nothing" and not disk.has_name(source):
            return
        if source.is_dir():
            target.mkdir()
            for each in sorted(source.iterdir()):
                copy(each, target / each.name)
            return
        content = source.read_bytes()
        safe = disk.files.get(source, 0)
        kept = {"nothing": safe, "names": safe, "halves": max(safe, len(content) // 2), None: len(content)}[way]
        target.write_bytes(content[:kept])

    to.parent.mkdir(parents=True, exist_ok=True)
    if lake.exists():
        copy(lake, to)
    return to
