"""DuckDB over the lake: in UTC, off the network, from the wheels alone, and gone without a trace."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import date
from importlib.util import find_spec
from pathlib import Path

import duckdb
import pytest

from mg_lakehouse.errors import ConfigurationError
from mg_lakehouse.lake import duck
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.lake.sql import text
from mg_lakehouse_tests.gold.helpers import append, event

SPILL = "create table t as select range as a, md5(range::varchar) as b from range(2_000_000)"
"""Some 100 MB."""


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    lake = Lake(str(tmp_path_factory.mktemp("duck") / "it's a lake"))
    append(lake, [event("opens", recipient_id="1"), event("opens", 60, recipient_id="2")])
    return lake


def python(program: str, lake: Lake, *, ends_with: int = 0, **environment: str) -> str:
    """What a program prints that has `c`, a connection to the lake, in a process of its own."""
    begin = f"from mg_lakehouse.lake import duck\nfrom mg_lakehouse.lake.lake import Lake\nc = duck.connect(Lake({lake.root!r}))\n"
    done = subprocess.run(
        [sys.executable, "-c", begin + program], env=os.environ | environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == ends_with, done.stderr
    return done.stdout.strip()


def scan(lake: Lake) -> str:
    return f"delta_scan({text(lake.uri_of('silver', 'opens'))})"


def test_a_connection_reads_a_delta_table(lake: Lake) -> None:
    with duck.connect(lake) as connection:
        assert connection.execute(f"select recipient_id, event_date from {scan(lake)} order by 1").fetchall() == [
            ("1", date(2026, 3, 10)),
            ("2", date(2026, 3, 10)),
        ]


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "America/New_York"])
def test_times_are_utc_whatever_the_host_says(lake: Lake, zone: str) -> None:
    # In neither zone is it 12 o'clock then.
    query = f"select cast(min(event_at) as varchar) from {scan(lake)}"
    program = f"for each in (c, c.cursor()): print(each.execute({query!r}).fetchone()[0])"
    assert python(program, lake, TZ=zone).splitlines() == ["2026-03-10 12:00:00+00"] * 2


def test_extensions_come_from_the_wheels_and_leave_the_home_folder_alone(lake: Lake, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o500)
    query = f"select count(*) from {scan(lake)}"
    assert python(f"print(c.execute({query!r}).fetchone()[0])", lake, HOME=str(home)) == "2"
    assert python(f"print(c.execute({query!r}).fetchone()[0])", lake, HOME=str(tmp_path / "missing")) == "2"
    assert list(home.iterdir()) == []
    assert not (tmp_path / "missing").exists()


def test_duckdb_fetches_no_extension_by_itself(lake: Lake) -> None:
    with duck.connect(lake) as connection:
        settings = dict(connection.execute("select name, value from duckdb_settings() where name like 'auto%extensions'").fetchall())
        assert settings == {"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"}
        with pytest.raises(duckdb.Error, match="httpfs"):
            connection.execute("from 'https://127.0.0.1:1/x.parquet'")


def test_a_local_lake_loads_nothing_that_reaches_the_network(lake: Lake) -> None:
    with duck.connect(lake) as connection:
        loaded = {name for (name,) in connection.execute("select extension_name from duckdb_extensions() where loaded").fetchall()}
    assert "delta" in loaded
    assert "httpfs" not in loaded


def test_a_missing_extension_is_named_with_what_to_install(monkeypatch: pytest.MonkeyPatch, lake: Lake) -> None:
    monkeypatch.setattr(duck, "find_spec", lambda name: None if name == "duckdb_extension_delta" else find_spec(name))
    with pytest.raises(ConfigurationError, match=rf"pip install duckdb-extension-delta=={duckdb.__version__}`"):
        duck.connect(lake)


def test_an_extension_of_another_duckdb_is_no_extension(monkeypatch: pytest.MonkeyPatch, lake: Lake) -> None:
    monkeypatch.setattr(duckdb, "__version__", "0.0.1")
    with pytest.raises(ConfigurationError, match=r"duckdb-extension-delta==0\.0\.1`"):
        duck.connect(lake)


def test_nothing_is_drawn_where_rows_are_written(lake: Lake) -> None:
    with duck.connect(lake) as connection:
        for asked in (connection, connection.cursor()):
            assert asked.execute("select current_setting('enable_progress_bar')").fetchone() == (False,)


@pytest.mark.parametrize("end", ["c.close()", "pass"], ids=["closed", "left open"])
def test_nothing_is_left_behind_after_a_spill(lake: Lake, tmp_path: Path, end: str) -> None:
    program = f"""
import pathlib
c.execute("set memory_limit = '50MB'")
c.execute({SPILL!r})
folder = pathlib.Path(c.execute("select current_setting('temp_directory')").fetchone()[0])
print(sum(file.stat().st_size for file in folder.iterdir()) > 10_000_000, oct(folder.parent.stat().st_mode & 0o777), folder.parent.parent)
{end}
"""
    # It spilled, and into a folder that other users cannot enter.
    assert python(program, lake, TMPDIR=str(tmp_path)) == f"True 0o700 {tmp_path}"
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_spilled_is_removed_by_the_next(lake: Lake, tmp_path: Path) -> None:
    killed = f"""
import os, signal
c.execute("set memory_limit = '50MB'")
c.execute({SPILL!r})
os.kill(os.getpid(), signal.SIGKILL)
"""
    python(killed, lake, ends_with=-signal.SIGKILL, TMPDIR=str(tmp_path))
    assert sum(file.stat().st_size for file in tmp_path.rglob("*") if file.is_file()) > 10_000_000
    python("print()", lake, TMPDIR=str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_two_databases_of_a_process_spill_without_harm_to_each_other(lake: Lake) -> None:
    # In one folder, the second to spill would overwrite the first's data.
    with duck.connect(lake) as first, duck.connect(lake) as second:
        for connection in (first, second):
            connection.execute("set memory_limit = '50MB'")
            connection.execute(SPILL)
        totals = [connection.execute("select sum(a), count(distinct b[1]) from t").fetchone() for connection in (first, second)]
    assert totals == [(1_999_999_000_000, 16)] * 2


def test_a_file_can_be_opened_twice_in_a_process(lake: Lake, tmp_path: Path) -> None:
    file = str(tmp_path / "catalog.duckdb")
    with duck.connect(lake, file) as connection:
        connection.execute(f"create view opens as from {scan(lake)}")
    with duck.connect(lake, file, read_only=True) as one, duck.connect(lake, file, read_only=True) as other:
        assert [each.execute("select count(*) from opens").fetchone() for each in (one, other)] == [(2,), (2,)]
        with pytest.raises(duckdb.Error, match="read-only"):
            one.execute("create table t (a int)")
    assert [each.name for each in tmp_path.iterdir()] == ["catalog.duckdb"]
