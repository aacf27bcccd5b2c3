"""The surroundings that a command finds: no home, an encoding that lacks characters, a full disk, libraries that speak for themselves."""

from __future__ import annotations

import os
import pwd
import re
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pytest

from mg_lakehouse._util.environment import set_environment
from mg_lakehouse._util.user_folders import xdg_folder
from mg_lakehouse.cli.prompt import _history
from mg_lakehouse.cli.streams import write_out_missing_characters
from mg_lakehouse.dagster.run_pass import flatten_and_build
from mg_lakehouse.errors import ConfigurationError, PermanentError
from mg_lakehouse.gold import project as project_module
from mg_lakehouse.gold.engine import _told
from mg_lakehouse.gold.names import project_dir
from mg_lakehouse.gold.project import ensure_manifest, target_dir
from mg_lakehouse.settings import Settings
from mg_lakehouse.testing.sqs import Fault, SqsEmulator
from mg_lakehouse_tests.cli.commands import command, process, sentence
from mg_lakehouse_tests.events.frames import bundle, item

NOWHERE = "/dev/null/nowhere"
"""A folder that nobody can make, not even root."""


@pytest.fixture
def no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process of a user id that is no user's, as in a container, without HOME."""

    def nobody(uid: int) -> Any:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.setattr(pwd, "getpwuid", nobody)
    for name in ("HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def read_only_project(monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may write anywhere, so that the project cannot be written is only said."""
    access = os.access
    project = project_dir(Settings())
    monkeypatch.setattr(os, "access", lambda path, mode: access(path, mode) and not (mode & os.W_OK and Path(path).is_relative_to(project)))


@pytest.mark.usefixtures("no_home")
def test_folders_of_the_user_are_those_of_xdg(monkeypatch: pytest.MonkeyPatch) -> None:
    assert xdg_folder("XDG_CACHE_HOME", "ours") is None
    monkeypatch.setenv("HOME", "/home/pat")
    assert xdg_folder("XDG_CACHE_HOME", "ours") == Path("/home/pat/.cache/ours")
    assert xdg_folder("XDG_STATE_HOME", "ours") == Path("/home/pat/.local/state/ours")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert xdg_folder("XDG_CACHE_HOME", "ours") == Path("/home/pat/.cache/ours")
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    assert xdg_folder("XDG_CACHE_HOME", "ours") == Path("/cache/ours")


@pytest.mark.usefixtures("no_home", "read_only_project")
@pytest.mark.parametrize("home", [None, NOWHERE, "/dev/null"], ids=["unset", "nowhere", "no folder"])
def test_what_is_made_of_the_project_has_a_place_without_a_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: str | None) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    if home is not None:
        monkeypatch.setenv("HOME", home)
    kept = target_dir(Settings())
    assert kept == tmp_path / f"mg-lakehouse-cache-{os.getuid()}"
    assert kept.stat().st_mode & 0o777 == 0o700
    assert target_dir(Settings()) == kept  # found again by the next process
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert target_dir(Settings()) == tmp_path / "cache" / "mg-lakehouse" / "dbt-target"
    assert target_dir(Settings(cache_dir=tmp_path / "chosen")) == tmp_path / "chosen"


@pytest.mark.usefixtures("no_home", "read_only_project")
def test_a_folder_that_others_can_write_is_not_trusted_with_sql(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / f"mg-lakehouse-cache-{os.getuid()}").mkdir()
    (tmp_path / f"mg-lakehouse-cache-{os.getuid()}").chmod(0o777)
    with pytest.raises(PermanentError, match=r"No folder for what is made of the dbt project can be written .* MG_CACHE_DIR\."):
        target_dir(Settings())


def test_a_chosen_folder_that_cannot_be_written_is_named() -> None:
    with pytest.raises(ConfigurationError, match=rf"MG_CACHE_DIR, {NOWHERE}, cannot be written: choose another folder, or unset it\."):
        target_dir(Settings(cache_dir=Path(NOWHERE)))


@pytest.mark.usefixtures("read_only_project")
def test_what_was_made_in_the_project_serves_who_cannot_write_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as writable:
        writable.undo()
        made = ensure_manifest(Settings())
    monkeypatch.setattr(project_module, "_run_dbt", lambda *_: pytest.fail("dbt ran"))
    assert ensure_manifest(Settings(cache_dir=tmp_path / "chosen")) == made


@pytest.mark.usefixtures("no_home")
def test_a_prompt_without_a_place_for_its_history_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _history() is None
    monkeypatch.setenv("XDG_STATE_HOME", NOWHERE)
    assert _history() is None


FOREIGN = bundle(item("ClickActivity", ActivityId="k1", RequestId="Бюро ☃", Url="https://bücher.example/ü"), "<Foo/>")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_every_character_is_told_whatever_the_encoding_of_the_terminal(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "ü☃.xml").write_text(FOREIGN, encoding="utf-8")
    for arguments in (
        ["--help"],
        ["run", "--help"],
        ["load", "--bronze-only", "ü☃.xml", "nix☃.xml"],
        ["status"],
        ["maintain"],
        ["backfill", "--from", "2026-01-01"],
        ["sql", "select message_id, 'Бюро ☃' as \"ü\" from bronze.loaded_files"],
        ["sql", "nonsense ☃"],
    ):
        done = command(tmp_path, *arguments, encoding=encoding)
        assert "Traceback" not in done.stderr, arguments
        said = done.stdout + done.stderr
        if "☃" in "".join(arguments):
            assert "\\u2603" in said, arguments
        assert ("ü" in said) == (encoding != "ascii" and "ü" in "".join(arguments)), arguments
        assert not set(said) & set("┌─│"), arguments


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_rows_are_utf_8_where_no_person_reads_them(tmp_path: Path, encoding: str) -> None:
    for file_format in ("csv", "json"):
        done = command(tmp_path, "sql", "--format", file_format, "select 'Бюро ü☃' as x", encoding=encoding)
        assert done.returncode == 0, done.stderr
        assert "Бюро ü☃" in done.stdout.encode(encoding, "surrogateescape").decode("utf-8"), file_format


def test_a_statement_is_utf_8_whatever_the_locale(tmp_path: Path) -> None:
    c = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = process(tmp_path, "sql", "--format", "csv", "select 'Бюро ü☃' as x", **c)
    assert done.stdout.split() == ["x", "Бюро", "ü☃"], done.stderr
    (tmp_path / "latin.sql").write_bytes("select 'ü'".encode("latin-1"))
    assert (
        sentence(command(tmp_path, "sql", "--file", "latin.sql"))
        == "Error: latin.sql is not UTF-8 at byte 8: save the statements as UTF-8."
    )


_SPEAKS = """
import os
import sys
from mg_lakehouse.cli import app
from mg_lakehouse.errors import PermanentError

def speaks(**_):
    os.write(2, b"thread 'tokio-rt-worker' panicked at bytes-1.10.1/src/bytes.rs:404:9\\nstack backtrace:\\n")
    {ends}

app.app = speaks
app.main()
"""


@pytest.mark.parametrize(
    ("ends", "status", "said"),
    [
        ("raise PermanentError('One sentence.')", 1, "Error: One sentence.\n"),
        ("return 0", 0, ""),
        ("print('A warning.', file=sys.stderr)", 0, "A warning.\n"),
    ],
)
def test_what_a_library_writes_to_standard_error_is_not_shown(ends: str, status: int, said: str) -> None:
    done = subprocess.run([sys.executable, "-c", _SPEAKS.format(ends=ends)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (status, said)


def test_what_a_library_wrote_is_shown_with_an_error_that_nobody_foresaw() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _SPEAKS.format(ends="raise ValueError('odd')")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith("thread 'tokio-rt-worker' panicked")
    assert done.stderr.endswith("ValueError: odd\n")


def test_a_panic_is_a_sentence() -> None:
    """A panic of Rust is no `Exception`: what catches those lets it through."""
    ends = "raise type('PanicException', (BaseException,), {{}})('range end index 9 out of range\\n second line')".replace("{{}}", "{}")
    done = subprocess.run([sys.executable, "-c", _SPEAKS.replace("{ends}", ends)], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(
        "Error: A library failed where it never should (range end index 9 out of range): a file of the lake may be damaged."
    )
    assert len(done.stderr.splitlines()) == 1


@contextmanager
def no_file_larger_than(size: int) -> Iterator[None]:
    """The kernel refuses to make files larger, as it does on a full disk. Python ignores the signal."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


FULL = "The disk of the lake or of TMPDIR is full, or a limit on its files is reached: free some space, or set TMPDIR to another disk."


def test_a_full_disk_is_named_where_gold_spills(tmp_path: Path) -> None:
    with no_file_larger_than(4096), pytest.raises(duckdb.Error) as full:
        duckdb.sql(f"copy (select uuid() from range(100_000)) to '{tmp_path / 'spilled.parquet'}'")
    assert _told(full.value) == FULL
    with duckdb.connect(config={"temp_directory": str(tmp_path / "spill")}) as small:
        small.execute("set memory_limit = '60MB'")
        small.execute("set max_temp_directory_size = '2MB'")
        with pytest.raises(duckdb.Error) as full:
            small.execute("create table big as select md5(i::varchar) as a, md5((i + 1)::varchar) as b from range(5_000_000) t(i)")
    assert _told(full.value) == FULL


def test_a_full_disk_is_named_where_the_project_is_compiled(tmp_path: Path) -> None:
    with (
        no_file_larger_than(0),
        pytest.raises(PermanentError, match=r"cannot be written to .* \(File too large\): free some space, or name another"),
    ):
        ensure_manifest(Settings(cache_dir=tmp_path / "cache"), {"other": 1})


def test_a_full_disk_is_named_where_dagster_keeps_its_runs(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    with set_environment({"DAGSTER_HOME": str(home)}), no_file_larger_than(16_384), pytest.raises(PermanentError) as full:
        flatten_and_build(Settings(lake_uri=str(tmp_path / "lake")))
    assert re.fullmatch(
        rf"Dagster's storage of DAGSTER_HOME, {home}, could not be read or written \(\(sqlite3.OperationalError\) .*\): check its disk, its rights and "
        r"its database\. What the run committed to the lake stays\.",
        str(full.value),
    )


def test_a_run_whose_bodies_were_all_refused_for_their_checksums_fails(tmp_path: Path) -> None:
    with SqsEmulator() as queue:
        queue.publish(["<ActivityItems/>"] * 3)
        rule = queue.faults.add(Fault.WRONG_MD5, "ReceiveMessage")
        done = command(tmp_path, "run", **queue.environment)
        assert rule.fired
        assert done.returncode == 1
        assert (
            "Failed: 3 bodies did not match SQS's checksum, and their messages were left in the queue; no other came. "
            "Something on the way changes them: check proxies and AWS_ENDPOINT_URL." in done.stderr
        )


def test_the_signs_of_tables_have_a_nearest_sign() -> None:
    write_out_missing_characters()
    assert "┌─┐│x…│ü☃".encode("latin-1", "mg_lakehouse_written_out") == b"+-+|x...|\xfc\\u2603"
