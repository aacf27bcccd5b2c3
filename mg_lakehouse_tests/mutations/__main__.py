"""``python -m mg_lakehouse_tests.mutations [WORDS]``: make each break in a copy of the tree, and see its tests turn red.

With words, only breaks whose names hold one of them. First the tests are run on the whole tree, for a test that is red anyway sees nothing.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Final

from mg_lakehouse_tests.mutations.breaks import BREAKS, Break

_ROOT: Final = Path(__file__).parents[2]
_COPIED: Final = ("mg_lakehouse", "mg_lakehouse_tests", "dbt_project", "docs", "pyproject.toml", "setup.cfg", "Makefile", "README.md")
_LEFT_OUT: Final = shutil.ignore_patterns("__pycache__", "target", "logs", ".mypy_cache")
_WORKERS: Final = 2
_SECONDS: Final = 240
_FAILED: Final = 1
"""Pytest's exit status where tests failed; 0 where all passed, others where they could not be run."""


def main(words: Sequence[str]) -> int:
    """Make the breaks, say of each who saw it, and return the exit status."""
    chosen = [each for each in BREAKS if not words or any(word in each.name for word in words)]
    with tempfile.TemporaryDirectory(prefix="mg-lakehouse-mutations-") as folder:
        copies: SimpleQueue[Path] = SimpleQueue()
        for number in range(_WORKERS):
            copies.put(_copy(Path(folder, str(number))))
        first = copies.get()
        _require_own_code(first)
        status, said = _run(first, sorted({test for each in chosen for test in each.tests}))
        copies.put(first)
        if status != 0:
            print(f"The tests are not green before any break:\n{said[-3_000:]}")
            return 1
        with ThreadPoolExecutor(_WORKERS) as pool:
            survived = [
                each.name for each, seen in zip(chosen, pool.map(lambda each: _seen(copies, each), chosen), strict=True) if not seen
            ]
    print(f"{len(chosen) - len(survived)} of {len(chosen)} breaks were seen.")
    return 1 if survived else 0


def _copy(folder: Path) -> Path:
    folder.mkdir()
    for name in _COPIED:
        source = _ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=_LEFT_OUT)
        else:
            shutil.copy(source, folder / name)
    return folder


def _require_own_code(folder: Path) -> None:
    """The copy's code must be what its tests import: the package is installed from elsewhere."""
    found = subprocess.run(
        [sys.executable, "-c", "import mg_lakehouse; print(mg_lakehouse.__file__)"], cwd=folder, capture_output=True, text=True, check=True
    )
    assert Path(found.stdout.strip()).is_relative_to(folder), found.stdout


def _seen(copies: SimpleQueue[Path], each: Break) -> bool:
    """Make a break in a copy that is free, run its tests, mend it, and say what became of it."""
    folder = copies.get()
    file = folder / each.file
    whole = file.read_text()
    begun = time.monotonic()
    try:
        if whole.count(each.text) != 1:
            print(f"BROKEN    {each.name}: its text occurs {whole.count(each.text)} times in {each.file}.", flush=True)
            return False
        file.write_text(whole.replace(each.text, each.instead))
        status, said = _run(folder, each.tests)
    finally:
        file.write_text(whole)
        copies.put(folder)
    took = f"{time.monotonic() - begun:.0f} s"
    if status == _FAILED:
        print(f"seen      {each.name} ({took})", flush=True)
        return True
    why = "SURVIVED " if status == 0 else "BROKEN   "
    print(f"{why} {each.name} ({took}){'' if status == 0 else said[-1_500:]}", flush=True)
    return False


def _run(folder: Path, tests: Sequence[str]) -> tuple[int, str]:
    """Pytest's exit status and what it said. A test that hangs has seen something too."""
    options = ["-q", "-x", "-p", "no:cacheprovider", "--no-header", "--tb=short", f"--timeout={_SECONDS}"]
    done = subprocess.run([sys.executable, "-m", "pytest", *options, *tests], cwd=folder, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
