"""Hostile names of files and texts of events at the real command, on a real terminal and beside one."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import subprocess
from pathlib import Path

import pytest

from mg_lakehouse.lake.lake import Lake
from mg_lakehouse_tests.cli.commands import COMMAND, command, environment, sentence
from mg_lakehouse_tests.events.frames import bundle, item
from mg_lakehouse_tests.lake.feeds import rows_of
from mg_lakehouse_tests.util.escaping_laws import hides
from mg_lakehouse_tests.util.hostile import HOSTILE, MOVING

RED = "\x9b31m\x1b[2J\u202e"


def on_a_terminal(folder: Path, *arguments: str) -> str:
    """What the command writes to a terminal, and only that: without the colours and moves of rich."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [COMMAND, *arguments], cwd=folder, env=environment(folder, TERM="dumb"), stdin=slave, stdout=slave, stderr=subprocess.PIPE
    )
    os.close(slave)
    written = b""
    try:
        while chunk := os.read(master, 65_536):
            written += chunk
    except OSError:  # Linux says so at the end
        pass
    _, said = process.communicate(timeout=120)
    os.close(master)
    assert process.returncode == 0, said.decode()
    return written.decode().replace("\r\n", "\n")


def feed(number: int) -> bytes:
    return bundle(item("OpenActivity", ActivityId=f"o{number}")).encode()


@pytest.fixture(scope="module")
def names() -> list[bytes]:
    """Names that a file system takes, one of bytes that are no text."""
    texts = [
        text.encode("utf-8", "surrogateescape")[:200] for text in HOSTILE if not set(text) & {"/", "\x00"} and not text.startswith("-")
    ]
    return [*(text + b".xml" for text in texts[:45]), b"\xff\xfe.xml", b"[nope] [bold].xml"]


def test_files_of_hostile_names_are_loaded_and_printed_as_text(tmp_path: Path, names: list[bytes]) -> None:
    for number, name in enumerate(names):
        Path(os.fsdecode(bytes(tmp_path) + b"/" + name)).write_bytes(feed(number))
    (tmp_path / "[").mkdir()
    (tmp_path / "[" / "nope].xml").write_bytes(feed(1_000))
    wrong = tmp_path / f"no feed{RED}\nError: the lake is lost.xml"
    wrong.write_text("nothing")
    arguments = [os.fsdecode(name) for name in names] + ["[/nope].xml", wrong.name]
    done = command(tmp_path, "load", "--bronze-only", *arguments, COLUMNS="250")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert not hides(done.stdout + done.stderr) - {"\n"}
    assert not any(line.startswith("Error") for line in done.stdout.splitlines())
    lake = Lake(str(tmp_path / ".lake"))
    assert rows_of(lake, "bronze", "loaded_files").height == len(names) + 1
    assert "[/nope].xml" not in done.stdout  # only a file's own name is printed
    assert "nope].xml" in done.stdout


def test_wrong_use_shows_its_arguments_as_text(tmp_path: Path) -> None:
    done = command(tmp_path, "load", f"--all{RED}.xml", COLUMNS="250")
    assert done.returncode == 2
    assert "No such option: --all" in done.stderr
    assert not hides(done.stderr) - {"\n"}
    folder = tmp_path / f"folder{RED}"
    folder.mkdir()
    done = command(tmp_path, "load", folder.name, COLUMNS="250")
    assert done.returncode == 2
    assert not hides(done.stderr) - {"\n"}


def test_an_error_names_a_folder_as_text(tmp_path: Path) -> None:
    said = sentence(command(tmp_path, "docs", MG_DBT_PROJECT_DIR=f"[/gone]{RED}"))
    assert "[/gone]\\u009b31m" in said
    assert not hides(said)


ROWS = "select * from (values {}) as made(n, t)".format(
    ", ".join(
        f"({number}, '{text}')"
        for number, text in enumerate(text.replace("'", "''") for text in HOSTILE if not set(text) & {"\x00", MOVING[-1][-1]})
    )
)
"""The corpus but for NUL, which no argument can hold, and the surrogate, which is no text."""

TEXTS = [text for text in HOSTILE if not set(text) & {"\x00", MOVING[-1][-1]}]


@pytest.mark.parametrize("form", ["table", "csv", "json"])
def test_rows_on_a_terminal_show_what_they_hold(tmp_path: Path, form: str) -> None:
    shown = on_a_terminal(tmp_path, "sql", ROWS, "--format", form)
    assert not hides(shown) - {"\n"}
    assert "\\u202e" in shown
    if form == "json":
        assert [row["t"] for row in json.loads(shown)] == TEXTS  # written out as JSON itself does it


def test_rows_in_a_pipe_are_to_the_letter(tmp_path: Path) -> None:
    from mg_lakehouse._util.escaping import from_csv

    done = subprocess.run(
        [COMMAND, "sql", ROWS, "--format", "csv"], cwd=tmp_path, env=environment(tmp_path), capture_output=True, check=True, timeout=120
    )
    rows = list(csv.reader(io.StringIO(done.stdout.decode(), newline="")))
    assert [from_csv(row[1]) for row in rows[1:]] == TEXTS
    done = subprocess.run(
        [COMMAND, "sql", ROWS, "--format", "json"], cwd=tmp_path, env=environment(tmp_path), capture_output=True, check=True, timeout=120
    )
    assert [row["t"] for row in json.loads(done.stdout)] == TEXTS
    table = command(tmp_path, "sql", ROWS)
    assert not hides(table.stdout) - {"\n"}  # a table is for eyes wherever it goes


def test_a_lake_whose_path_has_an_end_of_line_gets_into_no_views_sql(tmp_path: Path) -> None:
    """DuckDB would run the rest of the path as a statement."""
    lake = f"{tmp_path}/lake\ncopy (select 1) to 'x';"
    done = command(tmp_path, "catalog", MG_LAKE_URI=lake, MG_CATALOG=str(tmp_path / "catalog.duckdb"))
    assert "holds an invisible character (U+000A)" in sentence(done)
    assert list(tmp_path.iterdir()) == []
