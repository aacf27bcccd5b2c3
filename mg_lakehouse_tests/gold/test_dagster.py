"""A gold build through Dagster."""

from __future__ import annotations

import hashlib
import hmac
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from mg_lakehouse._util.environment import set_environment
from mg_lakehouse.dagster.assets.gold import build_dbt_resource
from mg_lakehouse.dagster.build import build_definitions
from mg_lakehouse.dagster.names import Names
from mg_lakehouse.gold.dbt_project import dbt_environment, target_dir
from mg_lakehouse.gold.names import project_dir
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.settings import Settings
from mg_lakehouse_tests.gold.helpers import PII_KEY, append, event, one, settings, table


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake(str(tmp_path / "lake"))
    append(lake, [event("deliveries", email="ada@gmail.com")])
    return lake


def test_a_model_built_alone_has_the_key_of_the_settings_and_leaves_no_artefacts(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    # The key is in the settings of the code location and not in the environment.
    monkeypatch.delenv("MG_PII_KEY", raising=False)
    target = target_dir(project_dir(Settings()))
    with set_environment({}), dg.DagsterInstance.ephemeral() as instance:
        job = build_definitions(settings(lake)).resolve_implicit_global_asset_job_def()
        before = folders(target)
        done = job.execute_in_process(instance=instance, asset_selection=[Names().gold("fct_messages")])
    assert done.success
    assert all(check.passed for check in done.get_asset_check_evaluations())
    hashed = hmac.new(PII_KEY.encode(), b"ada@gmail.com", hashlib.sha256).hexdigest()
    assert one(table(lake, "fct_messages"))["recipient_key"] == f"email:{hashed}"
    assert not Path(lake.root, ".pii_key").exists()
    # Each run writes artefacts into a folder of its own; runs of other processes may stand beside it.
    assert [name for name in folders(target) - before if done.run_id[:7] in name] == []


def test_a_build_starts_dbt_once(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """dagster-dbt asks `dbt --version` first, and loads dbt for what this project does by itself: more than half of a small build's time."""
    started: list[list[str]] = []

    class Recorded(subprocess.Popen[Any]):
        def __init__(self, args: Sequence[str], *others: Any, **options: Any) -> None:
            started.append(list(args))
            super().__init__(args, *others, **options)

    monkeypatch.setattr(subprocess, "Popen", Recorded)
    dbt = build_dbt_resource(settings(lake))
    with set_environment(dbt_environment(settings(lake), lake) | {"MG_PII_KEY": PII_KEY}):
        assert dbt.cli(["parse"], target_path=Path(lake.root, "target")).wait().is_successful()
    assert [(Path(command).name, "parse" in arguments) for command, *arguments in started] == [("dbt", True)]


def folders(target: Path) -> set[str]:
    return {path.name for path in target.iterdir() if path.is_dir()}
