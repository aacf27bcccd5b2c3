"""Peers that have an environment of their own, made from a pinned list, and what is missing where one cannot run."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.harness.machine import java_version
from benchmarks.harness.processes import ROOT

__all__ = ["Peer", "available", "install"]

_SCRIPTS: Final = ROOT / "benchmarks" / "peers"


@dataclass(frozen=True, slots=True)
class Peer:
    """A contender outside this environment: ``environment`` names its list of packages and its folder, ``script`` what it runs."""

    name: str
    environment: str
    script: str
    needs_java: bool

    @property
    def folder(self) -> Path:
        """Where its environment is."""
        return ROOT / f".venv-bench-{self.environment}"

    def command(self) -> list[str]:
        """What :func:`benchmarks.harness.processes.run` starts."""
        return [str(self.folder / "bin" / "python"), str(_SCRIPTS / self.script)]


def available(peer: Peer) -> str | None:
    """``None`` where the peer can run, else what is missing, in a sentence."""
    if peer.needs_java and java_version() is None:
        return "there is no Java on this machine; install a Java 17 runtime (Debian: openjdk-17-jre-headless)."
    if not (peer.folder / _DONE).exists():
        return f"its environment {peer.folder.name} is not made; `make bench-peers` makes it."
    return None


_DONE: Final = ".installed"


def install(environment: str) -> None:
    """Make a peer's environment from its pinned list, where it is not made or the list is newer.

    Raises:
        subprocess.CalledProcessError: pip failed.
    """
    folder, pins = ROOT / f".venv-bench-{environment}", _SCRIPTS / f"requirements-{environment}.txt"
    done = folder / _DONE
    if done.exists() and done.stat().st_mtime >= pins.stat().st_mtime:
        return
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--requirement", str(pins)], check=True)
    done.touch()
