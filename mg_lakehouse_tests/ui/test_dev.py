"""`mg-lakehouse dev` refuses a port that is taken. What it starts, and that Ctrl-C ends it, is with the tests of the UI."""

from __future__ import annotations

import socket
from pathlib import Path

from mg_lakehouse_tests.cli.commands import command, sentence


def test_a_port_that_is_taken_is_one_sentence(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        said = sentence(command(tmp_path, "dev", "--port", str(port)))
    assert said == f"Error: Port {port} of 127.0.0.1 is taken: stop what listens there, or choose another with --port."
    assert list(tmp_path.iterdir()) == []
