"""`mg-lakehouse dev`: it starts, it refuses a port that is taken, and Ctrl-C ends all that it started."""

from __future__ import annotations

import socket
import subprocess
import urllib.request
from pathlib import Path

import pytest

from mg_lakehouse_tests.cli.commands import process, sentence
from mg_lakehouse_tests.ui.services import dev, processes_of_group

pytestmark = pytest.mark.slow


def test_ctrl_c_ends_everything_that_it_started(tmp_path: Path) -> None:
    with dev(tmp_path) as running:
        assert f"Dagster UI: {running.url}" in running.said()
        assert str(tmp_path / ".lake") in running.said()
        assert urllib.request.urlopen(f"{running.url}/server_info").status == 200
        groups = [int(child) for child in _children(running.process)]
        assert [processes_of_group(group) for group in groups] != [[]]
        assert running.interrupt() == 0
        assert [processes_of_group(group) for group in groups] == [[] for _ in groups]
        assert "Traceback" not in running.said()
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", running.port)) != 0


def _children(process: subprocess.Popen[bytes]) -> list[str]:
    tasks = Path(f"/proc/{process.pid}/task").glob("*/children")
    return [child for task in tasks for child in task.read_text().split()]


def test_a_port_that_is_taken_is_one_sentence(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        said = sentence(process(tmp_path, "dev", "--port", str(port)))
    assert said == f"Error: Port {port} of 127.0.0.1 is taken: stop what listens there, or choose another with --port."
    assert list(tmp_path.iterdir()) == []
