"""Two walls around ad hoc SQL, each tried alone with every function of DuckDB: nothing outside is read, written or called."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from mg_lakehouse.errors import QueryError
from mg_lakehouse.location import Location
from mg_lakehouse.serving.sandbox import landlock
from mg_lakehouse.serving.sandbox.answer import Asking
from mg_lakehouse_tests.security.hostile_sql import CANARY, Scene, calls, scene, unfenced
from mg_lakehouse_tests.security.unread import Unread, unread


@pytest.fixture(scope="module")
def tried(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "MG_PII_KEY"):
            patch.setenv(name, CANARY)
        with scene(tmp_path_factory.mktemp("walls")) as made:
            yield made


@pytest.fixture
def alone(tried: Scene, tmp_path: Path) -> Iterator[Asking]:
    """The first wall alone."""
    with unfenced(tried) as asking:
        yield asking


@pytest.fixture
def bound(tried: Scene, tmp_path: Path) -> Iterator[Unread]:
    """The second wall alone."""
    with unread(Location(tried.lake.uri), tmp_path / "bound") as running:
        yield running


def text_of(rows: pa.RecordBatchReader) -> str:
    """All bytes of the rows, of whatever type they are, with what is text among them."""
    table = rows.read_all()
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue()).decode("latin-1")


def test_what_statements_may_name_is_a_wall_by_itself(tried: Scene, alone: Asking) -> None:
    answered = 0
    for sql in calls(tried.texts):
        try:
            said = text_of(alone.rows(sql))
            answered += 1
        except QueryError as error:
            said = str(error)
        assert CANARY not in said, sql
    tried.require_untouched()
    assert answered > 1_000  # what only computes is answered, whatever it is called with


def test_what_the_process_can_do_is_a_wall_by_itself(tried: Scene, bound: Unread) -> None:
    """Where the kernel has Landlock with its part for the network. Without it the Delta extension's functions go past DuckDB's own limits."""
    version = landlock.abi()
    past_duckdb = () if version >= landlock.NETWORK_ABI else ("delta_", "write_blob", "copy_dir") if version == 0 else ("http://",)
    for sql in calls(tried.texts):
        if not any(part in sql for part in past_duckdb):
            assert CANARY not in bound.ask(sql), sql
    tried.require_untouched()
    bound.stop()  # some of the calls leave a session in which nothing is answered
    assert bound.ask("select count(*) from silver.opens") == "[(3,)]"


def test_settings_are_locked_where_nobody_reads_the_statement(bound: Unread) -> None:
    for sql in (
        "set threads = 1",
        "set global threads = 1",
        "reset threads",
        "pragma threads = 1",
        "set lock_configuration = false",
        "set enable_external_access = true",
        "set allowed_directories = ['/']",
        "set allow_persistent_secrets = true",
        "set python_enable_replacements = true",
    ):
        assert "locked" in bound.ask(sql), sql
