"""Gold on an S3 lake: the same builds, with the standard AWS settings."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from mg_lakehouse._util.environment import set_environment
from mg_lakehouse.errors import ConfigurationError
from mg_lakehouse.gold import engine
from mg_lakehouse.lake import duck
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.lake.sql import text
from mg_lakehouse.settings import Settings
from mg_lakehouse.testing.s3 import S3Server
from mg_lakehouse_tests.gold.helpers import DERIVED, append, build, event, one, replaced, rows_of, table


@pytest.fixture(scope="module")
def bucket(s3_server: S3Server) -> Iterator[str]:
    with set_environment(s3_server.environment):
        os.environ.pop("AWS_PROFILE", None)
        yield s3_server.make_bucket("gold")


FIRST = [
    event("deliveries", recipient_id="1", email="ada@gmail.com"),
    event("bounces", recipient_id="2", category_code=10),
    event("sms_deliveries", request="t1-texts", recipient_id="1", phone="+15550001"),
]
LATER = [event("opens", 60, email="ada@gmail.com"), event("opens", 60, request=None)]


@pytest.fixture(scope="module")
def lake(bucket: str) -> Lake:
    """A lake built twice: the second time over news of one job."""
    lake = Lake(f"{bucket}/some/prefix/")
    append(lake, FIRST)
    build(lake)
    append(lake, LATER)
    build(lake)
    return lake


def test_a_lake_on_s3_has_the_rows_of_a_local_one(lake: Lake, tmp_path: Path) -> None:
    local = Lake(str(tmp_path / "lake"))
    append(local, [*FIRST, *LATER])
    build(local)
    for name in DERIVED:
        assert rows_of(lake, name) == rows_of(local, name), name


def test_the_second_build_on_s3_rewrote_the_touched_job_only(lake: Lake) -> None:
    predicate = str(replaced(lake, "job_metrics"))
    assert "t06926-job" in predicate
    assert "t1-texts" not in predicate
    assert one(table(lake, "job_metrics"), channel="email")["unique_openers"] == 1


def test_duckdb_reads_an_s3_lake(lake: Lake) -> None:
    with duck.connect(lake) as connection:
        query = f"select request_id, accepted from delta_scan({text(lake.uri_of('gold', 'job_metrics'))}) order by all"
        assert connection.execute(query).fetchall() == [("t06926-job", 1), ("t1-texts", 1)]


def test_the_secret_of_duckdb_is_for_the_lake_alone_and_hides_its_values(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "test-token")
    with duck.connect(lake) as connection:
        (secret,) = connection.execute("select scope, secret_string, persistent from duckdb_secrets()").fetchall()
    scope, text, persistent = secret
    assert scope == ["s3://gold/some/prefix"]
    assert not persistent
    assert "test-secret" not in text
    assert "test-token" not in text


def test_an_s3_lake_without_a_key_is_refused_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MG_PII_KEY", raising=False)
    lake = Lake("s3://gold")
    with pytest.raises(ConfigurationError) as refused:
        engine.build(lake, Settings(lake_uri=lake.uri))
    assert str(refused.value) == (
        "MG_PII_KEY is not set, and the lake s3://gold is not a local folder: set it to a long random text and keep it, "
        "for the recipient keys in gold depend on it."
    )
