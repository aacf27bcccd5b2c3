"""The process that runs queries: what it has, and what becomes of it when it, its caller or a statement is ended."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.serving.sandbox import landlock
from mg_lakehouse.serving.sandbox.sandbox import AdHoc, QueryError, ad_hoc
from mg_lakehouse.serving.sandbox.start import child_environment, order_for
from mg_lakehouse.settings import Settings
from mg_lakehouse.testing.s3 import S3Server
from mg_lakehouse.testing.s3_proxy import FaultProxy
from mg_lakehouse_tests.lake.feeds import fill
from mg_lakehouse_tests.security.unread import unread
from mg_lakehouse_tests.waiting import until_busy, wait_until

ENDLESS = "select count(*) from range(1000000000000) a(x) where hash(x) = 1"
SECRETS = {
    "AWS_ACCESS_KEY_ID": "planted-1",
    "AWS_SECRET_ACCESS_KEY": "planted-2",
    "AWS_SESSION_TOKEN": "planted-3",
    "AWS_SHARED_CREDENTIALS_FILE": "/planted-4",
    "MG_PII_KEY": "planted-5",
    "MG_API_KEY": "planted-6",
    "MG_ALERT_SLACK_TOKEN": "planted-7",
    "SOMETHING_ELSE_TOKEN": "planted-8",
}


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake(str(tmp_path / "lake"))
    fill(lake, 3)
    return lake


@pytest.fixture
def asked(lake: Lake) -> Iterator[AdHoc]:
    with ad_hoc(lake, Settings(lake_uri=lake.root)) as opened:
        yield opened


def count(asked: AdHoc) -> object:
    return asked.rows("select count(*) as n from silver.opens").read_all()["n"][0].as_py()


def test_its_environment_has_no_credential_and_none_of_our_settings(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    for local in (True, False):
        assert not any("planted" in value for value in child_environment(os.environ, Path("/folder"), local=local).values())
    with ad_hoc(lake, Settings(lake_uri=lake.root)) as asked:
        assert b"planted" not in Path(f"/proc/{asked._process.pid}/environ").read_bytes()
        assert b"planted" not in Path(f"/proc/{asked._process.pid}/cmdline").read_bytes()


def test_it_may_read_the_layers_and_no_folder_that_holds_the_lake_or_a_home(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path, str(Path.home()), lake.root, "/"])
    (Path(lake.root) / "gold").mkdir()
    elsewhere = Path(lake.root).with_name("elsewhere")
    elsewhere.mkdir()
    (Path(lake.root) / "gold" / "linked").symlink_to(elsewhere)
    readable = order_for(lake, Path(lake.root).parent)["readable"]
    assert {f"{lake.root}/{layer}" for layer in ("bronze", "silver", "gold")} | {str(elsewhere)} <= set(readable)
    for kept in (Path.home(), Path(lake.root), Path.cwd()):
        assert [path for path in readable if kept.is_relative_to(path)] == []


@pytest.mark.parametrize("known", range(8))
def test_what_landlock_takes_away(tmp_path: Path, known: int) -> None:
    """By the version: none binds nothing, the first bind files, the fourth TCP too. A kernel does what it did for the versions before its own."""
    version = min(known, landlock.abi())
    for name in ("read", "written", "hidden"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x").write_text("x")
    with socket.socket() as one, socket.socket() as other:
        for listener in (one, other):
            listener.bind(("127.0.0.1", 0))
            listener.listen()
        program = f"""
import json, os, socket, subprocess, threading
from pathlib import Path
from mg_lakehouse.serving.sandbox import landlock
root = Path({str(tmp_path)!r})
landlock.abi = lambda: {version}
bound = landlock.restrict(readable=[root / "read", root / "missing"], writable=[root / "written"], ports=[{one.getsockname()[1]}])
def refused(what):
    try:
        what()
    except PermissionError:
        return True
    return False
found = {{
    "read": refused((root / "read" / "x").read_text),
    "read by a thread": refused((root / "hidden" / "x").read_text),
    "write what is read": refused(lambda: (root / "read" / "x").write_text("y")),
    "make beside": refused(lambda: (root / "read" / "y").write_text("y")),
    "remove": refused((root / "read" / "x").unlink),
    "write": refused(lambda: (root / "written" / "y").write_text("y")),
    "read hidden": refused((root / "hidden" / "x").read_text),
    "list hidden": refused(lambda: os.listdir(root / "hidden")),
    "environment": refused(Path("/proc/self/environ").read_text),
    "run": refused(lambda: os.execv("/bin/true", ["true"]) if bound else None),
    "call": refused(lambda: socket.socket().connect(("127.0.0.1", {one.getsockname()[1]}))),
    "call another": refused(lambda: socket.socket().connect(("127.0.0.1", {other.getsockname()[1]}))),
}}
of_thread = []
thread = threading.Thread(target=lambda: of_thread.append(refused((root / "hidden" / "x").read_text)))
thread.start(); thread.join()
found["read by a thread"] = of_thread[0]
print(json.dumps(found))
"""
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    files, network = version >= 1, version >= landlock.NETWORK_ABI
    assert json.loads(done.stdout) == {
        "read": False,
        "read by a thread": files,
        "write what is read": files,
        "make beside": files,
        "remove": files,
        "write": False,
        "read hidden": files,
        "list hidden": files,
        "environment": files,
        "run": files,
        "call": False,
        "call another": network,
    }


def test_a_statement_is_stopped_and_the_next_one_is_answered(asked: AdHoc) -> None:
    said: list[str] = []

    def ask() -> None:
        with pytest.raises(QueryError) as stopped:
            asked.rows(ENDLESS).read_all()
        said.append(str(stopped.value))

    asking = threading.Thread(target=ask)
    asking.start()
    until_busy(asked._process.pid)
    asked.interrupt()
    asking.join(60)
    assert "Interrupted" in said[0]
    assert count(asked) == 3


def test_rows_that_are_not_read_to_their_end_are_no_part_of_the_next_answer(asked: AdHoc) -> None:
    rows = asked.rows("select range as x from range(100000000)")
    assert rows.read_next_batch().num_rows > 0
    assert count(asked) == 3
    with pytest.raises(QueryError, match="were not all read before the next statement"):
        rows.read_all()


def test_an_error_that_comes_after_some_rows_is_the_same_sentence(asked: AdHoc) -> None:
    with pytest.raises(QueryError, match="Could not convert string"):
        asked.rows("select if(range < 150000, '1', 'x')::int from range(200000)").read_all()
    assert count(asked) == 3


def test_a_process_that_is_ended_by_somebody_is_a_sentence(asked: AdHoc) -> None:
    os.kill(asked._process.pid, signal.SIGKILL)
    for _ in range(2):
        with pytest.raises(QueryError) as ended:
            count(asked)
        assert str(ended.value) == (
            "The process that runs the queries has ended (SIGKILL), and the lake is unchanged: start again, with a smaller or different query."
        )


def test_it_ends_with_its_caller_and_leaves_nothing(lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    program = f"""
from mg_lakehouse.settings import Settings
from mg_lakehouse.serving.sandbox.sandbox import ad_hoc
from mg_lakehouse.location import Location
with ad_hoc(Location({lake.root!r}), Settings(lake_uri={lake.root!r})) as asked:
    print(asked._process.pid, flush=True)
    asked.rows({ENDLESS!r})
"""
    caller = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env=os.environ | {"TMPDIR": str(temporary)}
    )
    assert caller.stdout is not None
    pid = int(caller.stdout.readline())
    until_busy(pid)
    caller.kill()
    caller.wait()
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), seconds=60)
    caller.stdout.close()
    assert len(list(temporary.iterdir())) == 1
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    with ad_hoc(lake, Settings(lake_uri=lake.root)) as asked:
        assert count(asked) == 3
    assert list(temporary.iterdir()) == []


def test_a_store_is_asked_for_the_lake_and_for_nothing_else_where_nobody_reads_the_statement(
    s3_server: S3Server, s3_proxy: FaultProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = s3_proxy.environment["AWS_SECRET_ACCESS_KEY"]
    for name, value in s3_proxy.environment.items():
        monkeypatch.setenv(name, value)
    lake = Lake(s3_server.make_bucket("ours"))
    fill(lake, 3)
    fill(Lake(s3_server.make_bucket("theirs")), 1)
    with unread(lake, tmp_path / "bound") as bound:
        assert bound.ask("select count(*) from silver.opens") == "[(3,)]"
        s3_proxy.seen()
        for sql in (
            "from delta_scan('s3://theirs/silver/opens')",
            "from delta_list_files('s3://theirs/silver/opens')",
            "from delta_scan('s3a://theirs/silver/opens')",
            "from read_parquet('s3://theirs/silver/opens/*/*.parquet')",
            "from read_text('s3://ours/.pii_key')",
            "from delta_scan('abfss://container@account.dfs.core.windows.net/x')",
            "from duckdb_settings()",
            "from pg_catalog.pg_settings",
            "select current_setting('s3_secret_access_key')",
            "from duckdb_secrets()",
            "from duckdb_secrets(redact = false)",
            "create secret mine (type s3, provider credential_chain)",
            "create persistent secret mine (type s3)",
        ):
            said = bound.ask(sql)
            assert secret not in said, sql
            # The address of the metadata service may be named by who was kept from asking it.
            assert "169.254.169.254" not in said or "error sending request" in said, said
        assert {request.path for request in s3_proxy.seen() if not request.path.startswith("/ours/")} == set()
        assert bound.ask("select count(*) from silver.opens") == "[(3,)]"


def test_the_password_of_a_proxy_is_in_no_setting(s3_server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    lake = Lake(s3_server.make_bucket("proxied"))
    fill(lake, 1)
    monkeypatch.setenv("HTTP_PROXY", "http://user:planted@127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with unread(lake, tmp_path / "bound") as bound:
        shown = bound.ask("from duckdb_settings()") + bound.ask("from duckdb_secrets()") + bound.ask("select current_setting('http_proxy')")
    assert "planted" not in shown
    assert "redacted" in shown
