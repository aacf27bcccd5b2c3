"""The real command, in a process and a folder of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

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


def command(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a folder, with these variables."""
    return subprocess.run(
        [COMMAND, *arguments], cwd=folder, env=environment(folder, **variables), capture_output=True, text=True, check=False, timeout=180
    )


def sentence(done: subprocess.CompletedProcess[str]) -> str:
    """The one error that was printed, on one line."""
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert len(lines) == 1, done.stderr
    return lines[0]
