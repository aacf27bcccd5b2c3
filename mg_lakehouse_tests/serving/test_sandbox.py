"""Ad hoc SQL: the lake is asked and nothing else, by many at once, while it is written."""

from __future__ import annotations

import json
import multiprocessing
import os
import pty
import select
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import duckdb
import polars as pl
import pytest

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
from mg_lakehouse_tests.waiting import until_busy

SECRET = "a key that no query may see"


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake(str(tmp_path / "lake"))
    fill(lake, 3)
    (tmp_path / "lake" / ".pii_key").write_text(SECRET)
    return lake


@pytest.fixture
def settings(lake: Lake) -> Settings:
    return Settings(lake_uri=lake.root)


@pytest.fixture
def asked(lake: Lake, settings: Settings) -> Iterator[AdHoc]:
    with ad_hoc(lake, settings) as opened:
        yield opened


def answer(asked: AdHoc, sql: str) -> list[dict[str, object]]:
    return asked.rows(sql).read_all().to_pylist()


def test_tables_that_were_never_written_are_there_and_empty(asked: AdHoc) -> None:
    assert answer(asked, "select count(*) as n from silver.opens") == [{"n": 3}]
    assert answer(asked, "select count(*) as n from silver.render_errors") == [{"n": 0}]
    assert answer(asked, "select errors from silver.render_errors") == []
    types = answer(
        asked,
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


def test_bodies_are_in_no_view(asked: AdHoc) -> None:
    columns = answer(asked, "select column_name from duckdb_columns() where schema_name = 'bronze' and database_name = 'catalog'")
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
def test_whatever_is_no_question_to_the_lake_is_refused(lake: Lake, asked: AdHoc, tmp_path: Path, sql: str) -> None:
    other = Lake(str(tmp_path / "other"))
    fill(other, 1)
    before = sorted(path for path in tmp_path.rglob("*"))
    with pytest.raises(QueryError) as refused:
        asked.rows(sql.format(lake=lake.root, other=other.uri_of("silver", "opens"))).read_all()
    assert SECRET not in str(refused.value)
    assert sorted(path for path in tmp_path.rglob("*")) == before
    assert answer(asked, "select count(*) as n from silver.opens") == [{"n": 3}]


def test_variables_temporary_tables_and_pivots_are_questions(asked: AdHoc) -> None:
    assert answer(asked, "set variable least = 2; select getvariable('least') as least") == [{"least": 2}]
    assert answer(asked, "create temp table few as select 1 as a; select a from few") == [{"a": 1}]
    assert answer(asked, "pivot silver.opens on source using count(*) group by request_id") == [{"request_id": "t1", "event_feed": 3}]
    assert "SCAN" in str(answer(asked, "explain select * from silver.opens")).upper()


def test_a_wrong_statement_says_where_it_is_wrong(asked: AdHoc) -> None:
    with pytest.raises(QueryError) as wrong:
        asked.rows("select request_idd from silver.opens")
    assert "request_idd" in str(wrong.value)
    assert "LINE 1" in str(wrong.value)


def _read(root: str, started: object, results: object) -> None:
    with ad_hoc(Lake(root), Settings(lake_uri=root)) as asked:
        started.set()  # type: ignore[attr-defined]
        results.put([answer(asked, "select count(*) as n from silver.opens")[0]["n"] for _ in range(30)])  # type: ignore[attr-defined]


def test_readers_go_on_while_the_lake_is_written_and_the_catalogue_is_made_anew(lake: Lake, settings: Settings) -> None:
    file = catalog_file(settings)
    assert file is not None
    build_catalog(lake, settings, file)
    spawn = multiprocessing.get_context("spawn")
    results, started = spawn.Queue(), [spawn.Event() for _ in range(2)]
    readers = [spawn.Process(target=_read, args=(lake.root, each, results)) for each in started]
    for reader in readers:
        reader.start()
    for each in started:
        assert each.wait(60)
    for number in range(5):
        fill(lake, 1, first=100 + number)
        build_catalog(lake, settings, file)
    found = [results.get(timeout=60) for _ in readers]
    for reader in readers:
        reader.join(60)
        assert reader.exitcode == 0
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


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("timestamptz '10000-01-01 04:59:59+00'", "10000-01-01 04:59:59.000000Z"),
        ("timestamp '0044-03-15 (BC) 12:00:00'", "-0043-03-15 12:00:00.000000"),
        ("date '10000-01-01'", "10000-01-01"),
        ("make_timestamp_ns(1)", "1970-01-01 00:00:00.000000001"),
    ],
)
def test_a_time_that_python_cannot_hold_is_written_as_text(lake: Lake, tmp_path: Path, value: str, text: str) -> None:
    query = f"select {value} as at, 1 as one"
    assert json.loads(sql(lake, tmp_path, query, "--format", "json").stdout) == [{"at": text, "one": 1}]
    # A text that begins with a minus is a formula to a spreadsheet.
    cell = f"'{text}" if text.startswith("-") else text
    assert sql(lake, tmp_path, query, "--format", "csv").stdout == f"at,one\n{cell},1\n"


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
        env = environment(folder, MG_LAKE_URI=lake.root, HOME=str(folder), XDG_STATE_HOME=str(folder / "state"), TERM="xterm", **variables)
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
        """Press Ctrl-C until a text is seen, as a person does: one that comes before the statement began is the prompt's."""
        deadline = time.monotonic() + 60
        while text not in self.seen:
            assert time.monotonic() < deadline, self.seen
            self.process.send_signal(signal.SIGINT)  # as the terminal does for Ctrl-C, but this one has no foreground
            self._read()

    def _read(self) -> None:
        if select.select([self.ours], [], [], 1)[0]:
            self.seen += os.read(self.ours, 65_536).decode(errors="replace")

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
