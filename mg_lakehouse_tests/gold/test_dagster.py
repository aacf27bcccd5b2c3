"""A gold build through Dagster."""

from __future__ import annotations

import hashlib
import hmac
import subprocess
from pathlib import Path
from typing import NoReturn

import dagster as dg
import pytest

from mg_lakehouse._util.environment import set_environment
from mg_lakehouse.dagster.build import build_definitions
from mg_lakehouse.dagster.names import Names
from mg_lakehouse.gold.project import ensure_manifest, target_dir
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.settings import Settings
from mg_lakehouse_tests.gold.helpers import PII_KEY, append, event, one, run, settings, table


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake(str(tmp_path / "lake"))
    append(lake, [event("deliveries", email="ada@gmail.com")])
    return lake


def test_models_built_alone_have_the_key_of_the_settings_and_leaves_no_artefacts(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    # The key is in the settings of the code location and not in the environment.
    monkeypatch.delenv("MG_PII_KEY", raising=False)
    target = target_dir(Settings())
    with set_environment({}), dg.DagsterInstance.ephemeral() as instance:
        job = build_definitions(settings(lake)).resolve_implicit_global_asset_job_def()
        before = folders(target)
        done = job.execute_in_process(
            instance=instance, asset_selection=[Names().gold(name) for name in ("message_events", "fct_messages")]
        )
    assert done.success
    assert all(check.passed for check in done.get_asset_check_evaluations())
    hashed = hmac.new(PII_KEY.encode(), b"ada@gmail.com", hashlib.sha256).hexdigest()
    assert one(table(lake, "fct_messages"))["recipient_key"] == f"email:{hashed}"
    assert not Path(lake.root, ".pii_key").exists()
    # Each run writes artefacts into a folder of its own; runs of other processes may stand beside it.
    assert [name for name in folders(target) - before if done.run_id[:7] in name] == []


def test_a_build_starts_no_process(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """To start dbt and to read its project took 8 to 13 s of a core, over no data at all."""
    ensure_manifest(settings(lake))

    def started(*_: object, **__: object) -> NoReturn:
        raise AssertionError("a process was started")

    monkeypatch.setattr(subprocess, "Popen", started)
    assert run(lake, models=["dim_jobs"]).ok


def folders(target: Path) -> set[str]:
    return {path.name for path in target.iterdir() if path.is_dir()}
