"""Ad hoc SQL: the lake is asked and nothing else, by many at once, while it is written."""

from __future__ import annotations

import errno
import io
import json
import os
import pty
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

import duckdb
import polars as pl
import pytest

from mg_lakehouse.cli.prompt import run_prompt
from mg_lakehouse.lake import duck
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.serving.catalog_file import catalog_file
from mg_lakehouse.serving.sandbox.sandbox import AdHoc, QueryError, ad_hoc
from mg_lakehouse.serving.views import build_catalog, shown_tables, snapshot_statements
from mg_lakehouse.settings import Settings
from mg_lakehouse.silver.update import flatten_new
from mg_lakehouse.testing.s3 import S3Server
from mg_lakehouse_tests.cli.commands import COMMAND, command, environment, sentence
from mg_lakehouse_tests.events.frames import bundle, item
from mg_lakehouse_tests.lake.feeds import fill, receive, rows_of
from mg_lakehouse_tests.templates import copied
from mg_lakehouse_tests.waiting import until_busy

SECRET = "a key that no query may see"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two lakes that are asked and not changed: one with a secret in its folder, and another."""
    folder = tmp_path_factory.mktemp("asked")
    fill(Lake(str(folder / "lake")), 3)
    (folder / "lake" / ".pii_key").write_text(SECRET)
    fill(Lake(str(folder / "other")), 1)
    return folder


@pytest.fixture(scope="module")
def shared(template: Path) -> Iterator[AdHoc]:
    """One process for all tests that only ask."""
    root = str(template / "lake")
    with ad_hoc(Lake(root), Settings(lake_uri=root)) as opened:
        yield opened


@pytest.fixture
def lake(tmp_path: Path, template: Path) -> Lake:
    return copied(template / "lake", tmp_path / "lake")


@pytest.fixture
def settings(lake: Lake) -> Settings:
    return Settings(lake_uri=lake.root)


def answer(asked: AdHoc, sql: str) -> list[dict[str, object]]:
    return asked.rows(sql).read_all().to_pylist()


def test_tables_that_were_never_written_are_there_and_empty(shared: AdHoc) -> None:
    assert answer(shared, "select count(*) as n from silver.opens") == [{"n": 3}]
    assert answer(shared, "select count(*) as n from silver.render_errors") == [{"n": 0}]
    assert answer(shared, "select errors from silver.render_errors") == []
    types = answer(
        shared,
        "select data_type from duckdb_columns() where table_name = 'render_errors' and column_name = 'errors' and database_name = 'catalog'",
    )
    assert types == [{"data_type": "STRUCT(error_code VARCHAR, error_message VARCHAR)[]"}]


def test_a_table_that_came_since_the_catalogue_was_made_is_there(lake: Lake, settings: Settings) -> None:
    file = catalog_file(settings)
    assert file is not None
    build_catalog(lake, settings, file)
    receive(lake, [bundle(item("ClickActivity", ActivityId="c1"))], first=50)
    flatten_new(lake)
    with ad_hoc(lake, settings) as asked:
        assert answer(asked, "select count(*) as n from silver.clicks") == [{"n": 1}]


def test_an_empty_lake_can_be_asked(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path / "nothing"))
    with ad_hoc(lake, Settings(lake_uri=lake.root)) as asked:
        assert answer(asked, "select count(*) as n from silver.clicks") == [{"n": 0}]
    assert not (tmp_path / "nothing").exists()


def test_bodies_are_in_no_view(shared: AdHoc) -> None:
    columns = answer(shared, "select column_name from duckdb_columns() where schema_name = 'bronze' and database_name = 'catalog'")
    assert {"column_name": "body"} not in columns
    assert {"column_name": "message_id"} in columns


def test_a_version_of_before_can_be_asked(lake: Lake, settings: Settings) -> None:
    fill(lake, 2, first=10)
    with ad_hoc(lake, settings) as asked:
        counts = [answer(asked, f"select count(*) as n from silver_opens at (version => {version})")[0]["n"] for version in (1, 2)]
        assert counts == [3, 5]


@pytest.mark.parametrize(
    "sql",
    [
        "copy (select 1) to 'x.csv'",
        "copy (select 1) to '{lake}/silver/x.csv'",
        "explain analyze copy (select 1) to '{lake}/silver/x.csv'",
        "export database '{lake}/gold/x'",
        "attach 'x.duckdb'",
        "attach ':memory:' as m",
        "install httpfs",
        "load '/x.duckdb_extension'",
        "set enable_external_access = true",
        "set threads = 1",
        "reset lock_configuration",
        "pragma threads = 1",
        "create table t as select 1",
        "create view silver.x as select 1",
        "create secret s (type s3, key_id 'k', secret 's')",
        "insert into silver.opens select * from silver.opens",
        "delete from silver.opens",
        "drop view silver.opens",
        "prepare p as copy (select 1) to 'x.csv'",
        "call dbgen(sf = 0.1)",
        "select * from read_text('{lake}/.pii_key')",
        "select * from read_text('{lake}/silver/../.pii_key')",
        "select * from read_csv('/etc/passwd')",
        "select * from '/etc/passwd'",
        "select * from glob('/etc/*')",
        "select * from delta_scan('{other}')",
        "select * from read_parquet('https://example.com/x.parquet')",
        "select * from read_parquet('s3://bucket/x.parquet')",
    ],
)
def test_whatever_is_no_question_to_the_lake_is_refused(template: Path, shared: AdHoc, sql: str) -> None:
    before = sorted(template.rglob("*"))
    with pytest.raises(QueryError) as refused:
        shared.rows(sql.format(lake=template / "lake", other=template / "other" / "silver" / "opens")).read_all()
    assert SECRET not in str(refused.value)
    assert sorted(template.rglob("*")) == before
    assert answer(shared, "select count(*) as n from silver.opens") == [{"n": 3}]


def test_variables_temporary_tables_and_pivots_are_questions(shared: AdHoc) -> None:
    assert answer(shared, "set variable least = 2; select getvariable('least') as least") == [{"least": 2}]
    assert answer(shared, "create temp table few as select 1 as a; select a from few") == [{"a": 1}]
    assert answer(shared, "pivot silver.opens on source using count(*) group by request_id") == [{"request_id": "t1", "event_feed": 3}]
    assert "SCAN" in str(answer(shared, "explain select * from silver.opens")).upper()


def test_a_wrong_statement_says_where_it_is_wrong(shared: AdHoc) -> None:
    with pytest.raises(QueryError) as wrong:
        shared.rows("select request_idd from silver.opens")
    assert "request_idd" in str(wrong.value)
    assert "LINE 1" in str(wrong.value)


def counts_again_and_again(lake: Lake, settings: Settings, started: threading.Event) -> list[object]:
    with ad_hoc(lake, settings) as asked:
        started.set()
        return [answer(asked, "select count(*) as n from silver.opens")[0]["n"] for _ in range(30)]


def test_readers_go_on_while_the_lake_is_written_and_the_catalogue_is_made_anew(lake: Lake, settings: Settings) -> None:
    """Each reads in a process of its own, whoever asks it."""
    file = catalog_file(settings)
    assert file is not None
    build_catalog(lake, settings, file)
    started = [threading.Event() for _ in range(2)]
    with ThreadPoolExecutor() as pool:
        readers = [pool.submit(counts_again_and_again, lake, settings, each) for each in started]
        for each in started:
            assert each.wait(60)
        for number in range(5):
            fill(lake, 1, first=100 + number)
            build_catalog(lake, settings, file)
        found = [[int(str(count)) for count in reader.result(60)] for reader in readers]
    for seen in found:
        assert seen == sorted(seen)
        assert set(seen) <= set(range(3, 9))
    with ad_hoc(lake, settings) as asked:
        assert answer(asked, "select count(*) as n from silver.opens") == [{"n": 8}]


def test_views_for_a_duckdb_of_ones_own(lake: Lake, settings: Settings, tmp_path: Path) -> None:
    build_catalog(lake, settings, tmp_path / "c.duckdb")
    script = (
        (tmp_path / "views.sql").read_text().replace("install delta;", "").replace("load delta;", f"load '{duck.extension_file('delta')}';")
    )
    with duckdb.connect() as own:
        own.execute(script)
        assert own.execute("select count(*) from silver.opens").fetchone() == (3,)
        assert own.execute("select count(*) from silver_opens at (version => 0)").fetchone() == (0,)


def test_a_snapshot_is_read_without_the_delta_extension(lake: Lake, settings: Settings) -> None:
    with duckdb.connect() as own:
        for statement in snapshot_statements(shown_tables(lake, settings)):
            own.execute(statement)
        assert own.execute(
            "select loaded_extensions from (select count(*) as loaded_extensions from duckdb_extensions() where loaded and extension_name = 'delta')"
        ).fetchone() == (0,)
        columns = rows_of(lake, "silver", "opens").columns
        found = own.execute("select * from silver.opens").pl()
    assert found.columns == columns
    assert found["received_date"].dtype == pl.Date
    assert found.height == 3


def test_a_lake_on_s3_is_asked_in_the_same_sandbox(s3_server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    lake = Lake(s3_server.make_bucket("asked"))
    fill(lake, 3)
    with ad_hoc(lake, Settings(lake_uri=lake.uri)) as asked:
        assert answer(asked, "select count(*) as n from silver.opens") == [{"n": 3}]
        secret = s3_server.environment["AWS_SECRET_ACCESS_KEY"]
        for sql in (
            "select * from duckdb_secrets()",
            "select * from duckdb_secrets(redact = false)",
            "select * from which_secret('s3://asked/x', 's3')",
            "select * from read_csv('/etc/passwd')",
            f"select * from read_text('{lake.root}/elsewhere/x')",
            "select * from read_text('s3://another/x')",
        ):
            with pytest.raises(QueryError, match="is refused") as refused:
                answer(asked, sql)
            assert secret not in str(refused.value)
    assert catalog_file(Settings(lake_uri=lake.uri)) is None


def sql(lake: Lake, tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return command(tmp_path, "sql", *arguments, MG_LAKE_URI=lake.root)


def test_the_command_writes_every_format(lake: Lake, tmp_path: Path) -> None:
    ids = "select activity_id from silver.opens order by 1"
    assert "│ o0" in sql(lake, tmp_path, ids).stdout
    assert sql(lake, tmp_path, ids, "--format", "csv").stdout == "activity_id\no0\no1\no2\n"
    assert (
        sql(lake, tmp_path, ids, "--format", "json").stdout
        == '[\n{"activity_id": "o0"},\n{"activity_id": "o1"},\n{"activity_id": "o2"}\n]\n'
    )
    (tmp_path / "q.sql").write_text(f"set variable x = 1; {ids}")
    written = tmp_path / "o.parquet"
    assert sql(lake, tmp_path, "--file", "q.sql", "--output", str(written)).returncode == 0
    assert pl.read_parquet(written)["activity_id"].to_list() == ["o0", "o1", "o2"]
    assert written.stat().st_mode & 0o777 == 0o600
    assert (
        sentence(sql(lake, tmp_path, ids, "--format", "parquet"))
        == "Error: Parquet cannot go to standard output: name a file with --output."
    )
    assert sentence(sql(lake, tmp_path, "drop view silver.opens")).startswith("Error: DROP is refused: only queries run here.")


TIMES = {
    "timestamptz '10000-01-01 04:59:59+00'": "10000-01-01 04:59:59.000000Z",
    "timestamp '0044-03-15 (BC) 12:00:00'": "-0043-03-15 12:00:00.000000",
    "date '10000-01-01'": "10000-01-01",
    "make_timestamp_ns(1)": "1970-01-01 00:00:00.000000001",
}


def test_a_time_that_python_cannot_hold_is_written_as_text(lake: Lake, tmp_path: Path) -> None:
    query = f"select {', '.join(f'{value} as at_{number}, {number} as n_{number}' for number, value in enumerate(TIMES))}"
    shown = {name: each for number, text in enumerate(TIMES.values()) for name, each in ((f"at_{number}", text), (f"n_{number}", number))}
    assert json.loads(sql(lake, tmp_path, query, "--format", "json").stdout) == [shown]
    # A text that begins with a minus is a formula to a spreadsheet.
    cells = [f"'{each}" if str(each).startswith("-") else str(each) for each in shown.values()]
    assert sql(lake, tmp_path, query, "--format", "csv").stdout == f"{','.join(shown)}\n{','.join(cells)}\n"


def test_what_cannot_be_written_says_what_to_do(lake: Lake, tmp_path: Path) -> None:
    finer = "select [make_timestamp_ns(1)] as at"
    assert (
        sentence(sql(lake, tmp_path, finer, "--format", "csv"))
        == "Error: A value cannot be written as csv (ValueError): cast it to varchar."
    )


class Terminal:
    """``mg-lakehouse sql`` at a terminal of its own: what is typed, and what must then be seen."""

    def __init__(self, lake: Lake, folder: Path, **variables: str) -> None:
        self.ours, theirs = pty.openpty()
        # Nobody answers where the cursor is, for which each prompt would wait a second.
        asks_nothing = {"PROMPT_TOOLKIT_NO_CPR": "1", "TERM": "xterm"}
        homes = {"HOME": str(folder), "XDG_STATE_HOME": str(folder / "state")}
        env = environment(folder, MG_LAKE_URI=lake.root, **asks_nothing, **homes, **variables)
        self.process = subprocess.Popen([COMMAND, "sql"], stdin=theirs, stdout=theirs, stderr=theirs, env=env, cwd=folder, close_fds=True)
        os.close(theirs)
        self.seen = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(30)
        os.close(self.ours)

    def until(self, text: str) -> None:
        deadline = time.monotonic() + 60
        while text not in self.seen:
            assert time.monotonic() < deadline, self.seen
            self._read()

    def interrupt_until(self, text: str) -> None:
        """Press Ctrl-C until a text is seen, and again where nothing is said to it: one before the statement began is the prompt's."""
        deadline = time.monotonic() + 60
        while text not in self.seen:
            assert time.monotonic() < deadline, self.seen
            self.interrupt()
            while text not in self.seen and self._read():
                pass

    def interrupt(self) -> None:
        """Ctrl-C: a terminal sends this signal to its foreground, which this one does not have."""
        self.process.send_signal(signal.SIGINT)

    def _read(self) -> bool:
        """Whether anything was said within a second. The end of a terminal is no empty read on Linux, but an error."""
        if not select.select([self.ours], [], [], 1)[0]:
            return False
        try:
            read = os.read(self.ours, 65_536)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            read = b""
        assert read, f"the command ended with {self.process.wait(30)}: {self.seen}"
        self.seen += read.decode(errors="replace")
        return True

    def type(self, line: str) -> None:
        os.write(self.ours, f"{line}\r".encode())


def test_the_prompt_takes_a_statement_over_several_lines_and_keeps_its_history_to_itself(lake: Lake, tmp_path: Path) -> None:
    with Terminal(lake, tmp_path) as terminal:
        terminal.until("lake=>")
        terminal.type("select count(*) + 4000")
        terminal.until("...>")
        terminal.type("from silver.opens;")
        terminal.until("4003")
        terminal.type(".schema silver.opens")
        terminal.until("activity_id")
        terminal.type("selec;")
        terminal.until("Parser Error")
        terminal.type("select count(*) from range(1000000000000) a(x) where hash(x) = 1;")
        process = terminal.process
        (child,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        until_busy(int(child))
        terminal.interrupt_until("Stopped.")
        terminal.type("select count(*) + 5000 from silver.opens;")
        terminal.until("5003")
        terminal.type(".quit")
        assert process.wait(30) == 0
        assert "pip install" not in terminal.seen
    history = tmp_path / "state" / "mg-lakehouse" / "sql_history"
    assert "from silver.opens;" in history.read_text()
    assert history.stat().st_mode & 0o777 == 0o600


def test_a_second_ctrl_c_while_the_first_is_answered_does_not_end_the_prompt(shared: AdHoc, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prompt_toolkit", None)
    monkeypatch.setattr(sys, "stdin", io.StringIO("select 1;\nselect 2;\n"))
    shown: list[str] = []
    said: list[str] = []

    def show(statement: str) -> None:
        shown.append(statement)
        if len(shown) == 1:
            signal.raise_signal(signal.SIGINT)

    def say(text: str) -> None:
        said.append(text)
        if text == "Stopped.":
            signal.raise_signal(signal.SIGINT)

    run_prompt(shared, show, say)
    assert shown == ["select 1;", "select 2;"]
    assert said[1:] == ["Stopped."]


def test_the_prompt_works_without_its_extra_and_says_how_to_get_it(lake: Lake, tmp_path: Path) -> None:
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "prompt_toolkit.py").write_text("raise ModuleNotFoundError('No module named prompt_toolkit')\n")
    with Terminal(lake, tmp_path, PYTHONPATH=str(hidden)) as terminal:
        terminal.until("pip install 'mg-lakehouse[prompt]'")
        terminal.until("lake=>")
        terminal.type("select count(*) + 4000")
        terminal.until("...>")
        terminal.type("from silver.opens;")
        terminal.until("4003")
        terminal.type(".quit")
        assert terminal.process.wait(30) == 0
