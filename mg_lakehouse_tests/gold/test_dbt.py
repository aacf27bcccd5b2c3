"""dbt by itself: the project builds on any lake without the engine, and gives the same tables; a project of one's own builds on top of it."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import duckdb
import pytest

from mg_lakehouse.gold.names import dbt_models, project_dir
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.settings import Settings
from mg_lakehouse_tests.gold.helpers import DERIVED, NOON, PII_KEY, append, build, event, one, rows_of, run, statuses, table

pytestmark = pytest.mark.slow

FEED: Final = [
    event("deliveries", request="b1-job", recipient_id="1", email="ann@gmail.com"),
    event("opens", 60, request="b1-job", recipient_id="1", user_agent="Mozilla/5.0"),
    event("clicks", 2, request="b1-job", email="ANN@gmail.com", url="https://a.example/x?p=1", url_name="Buy"),
    event("clicks", 900, request="b1-job", recipient_id="1", url="https://a.example/y"),
    event("bounces", request="b1-job", recipient_id="2", email="bob@yahoo.com", category_code=10, details="550 5.1.1 unknown"),
    event("bounces", 60, request="b2-job", recipient_id="2", category_code=22),
    event("unsubscribes", 3_600, request="b1-job", recipient_id="1"),
    event("deliveries", 7_200, request="b2-job", recipient_id="1", email="ann@gmail.com"),
    event("sms_deliveries", request="t1-text", phone="+15550001"),
    event("sms_inbounds", 60, request=None, phone="1 555-0001", inbound_message="STOP"),
    event("mobile_push_delivery_failures", request="b1-job", device="d-1", category="EXPIRED", service="APNS"),
    event("render_errors", request="b1-job", recipient_id="3", errors=[{"error_code": "E", "error_message": "in BODY"}]),
    event("opens", request=None, email="ann@gmail.com"),
    event("context_hits", vendor="v", prefix="p", record_size=3, updated_at=NOON - timedelta(hours=1)),
]
AS_OF: Final = NOON + timedelta(days=1)


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    lake = Lake(str(tmp_path_factory.mktemp("dbt") / "lake"))
    append(lake, FEED)
    return lake


def dbt(lake: Lake, folder: Path, *arguments: str, project: Path | None = None) -> subprocess.CompletedProcess[str]:
    """The command line as a user has it, with artefacts and database in ``folder``."""
    environment = {
        "MG_LAKE_URI": lake.root,
        "MG_PII_KEY": PII_KEY,
        "MG_AS_OF": AS_OF.isoformat(),
        "DBT_TARGET_PATH": str(folder / "target"),
        "DBT_LOG_PATH": str(folder / "logs"),
        "DBT_DATABASE": str(folder / "own" / "lakehouse.duckdb"),
    }
    return subprocess.run(
        [str(Path(sys.executable).with_name("dbt")), *arguments],
        cwd=project or project_dir(Settings()),
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def alone(lake: Lake, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`dbt build`, unit tests and data tests included, over a lake that has silver only."""
    folder = tmp_path_factory.mktemp("alone")
    done = dbt(lake, folder, "build")
    assert done.returncode == 0, done.stdout[-3_000:]
    assert "14 unit tests" in done.stdout
    return folder


def test_dbt_by_itself_writes_nothing_to_the_lake_and_keeps_its_database_from_others(lake: Lake, alone: Path) -> None:
    assert not Path(lake.root, "gold").exists()
    assert stat.S_IMODE((alone / "own" / "lakehouse.duckdb").stat().st_mode) == 0o600


def test_dbt_by_itself_makes_the_tables_that_the_engine_makes(lake: Lake, alone: Path, tmp_path: Path) -> None:
    built = Lake(str(tmp_path / "lake"))
    shutil.copytree(lake.root, built.root)
    build(built, as_of=AS_OF)
    with duckdb.connect(str(alone / "own" / "lakehouse.duckdb"), read_only=True) as connection:
        connection.execute("set timezone = 'UTC'")
        for name in DERIVED:
            made = table(built, name)
            own = connection.execute(f"select {', '.join(made.columns)} from gold.{name}").pl()
            assert sorted(own.cast(made.schema).rows(), key=repr) == rows_of(built, name), name


def test_dbt_shows_a_table_that_stands_in_the_lake(lake: Lake, alone: Path, tmp_path: Path) -> None:
    built = Lake(str(tmp_path / "lake"))
    shutil.copytree(lake.root, built.root)
    build(built, as_of=AS_OF, select="dim_jobs")
    (tmp_path / "target").mkdir()
    shutil.copy(alone / "target" / "partial_parse.msgpack", tmp_path / "target")
    done = dbt(built, tmp_path, "show", "-q", "--inline", "select request_id from {{ ref('dim_jobs') }} order by 1")
    assert "b1-job" in done.stdout, done.stdout


MODEL: Final = """
{{ config(materialized="delta", stats_columns=["request_id"], contract={"enforced": true}) }}
select request_id, sum(targeted)::bigint as messages from {{ mg_lakehouse.scoped(ref("job_metrics")) }} group by request_id
"""
DESCRIBED: Final = """
models:
  - name: messages_of_jobs
    description: Messages of each job, in any channel.
    config: {meta: {dagster: {asset_key: [gold, messages_of_jobs], group: gold}}}
    data_tests: [{mg_lakehouse.primary_key: {name: messages_of_jobs_primary_key, arguments: {columns: [request_id]}}}]
    columns:
      - {name: request_id, data_type: varchar, description: The job.}
      - {name: messages, data_type: bigint, description: Its messages.}
"""


@pytest.fixture(scope="module")
def own_project(lake: Lake, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dbt project of one's own that depends on this one and adds a table of the lake."""
    folder = tmp_path_factory.mktemp("own") / "project"
    (folder / "models" / "marts").mkdir(parents=True)
    (folder / "dbt_project.yml").write_text("name: ours\nversion: '1.0'\nprofile: mg_lakehouse\nmodel-paths: [models]\n")
    (folder / "packages.yml").write_text(f"packages: [{{local: '{project_dir(Settings())}'}}]\n")
    (folder / "models" / "marts" / "messages_of_jobs.sql").write_text(MODEL)
    (folder / "models" / "marts" / "messages_of_jobs.yml").write_text(DESCRIBED)
    shutil.copy(project_dir(Settings()) / "profiles.yml", folder)
    done = dbt(lake, folder.parent, "deps", project=folder)
    assert done.returncode == 0, done.stdout
    return folder


def test_a_project_that_depends_on_this_one_builds_its_own_tables_with_the_others(lake: Lake, own_project: Path, tmp_path: Path) -> None:
    built = Lake(str(tmp_path / "lake"))
    shutil.copytree(lake.root, built.root)
    models = ["message_events", "fct_messages", "dim_jobs", "job_metrics", "messages_of_jobs"]
    options: dict[str, Any] = {"project": own_project, "as_of": AS_OF}
    assert run(built, models=models, **options).ok
    assert one(table(built, "messages_of_jobs"), request_id="b2-job")["messages"] == 2
    append(built, [event("deliveries", request="b2-job", recipient_id="9")])
    found = statuses(run(built, models=models, **options))
    assert (found["messages_of_jobs"], found["messages_of_jobs_primary_key"]) == ("success", "pass")
    assert one(table(built, "messages_of_jobs"), request_id="b2-job")["messages"] == 3
    assert set(dbt_models(Settings(dbt_project_dir=own_project))) == {"messages_of_jobs", *dbt_models(Settings())}
