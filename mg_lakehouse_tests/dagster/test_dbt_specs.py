"""What dagster-dbt makes of a manifest is kept: the same specs, without the time that dbt takes to import."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from dagster_dbt import dbt_assets

from mg_lakehouse.dagster.build import build_definitions
from mg_lakehouse.dagster.dbt_specs import DbtSpecs, dbt_specs
from mg_lakehouse.gold.project import ensure_manifest
from mg_lakehouse.settings import Settings


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's own manifest, where no specs of it are kept."""
    folder = tmp_path_factory.mktemp("target") / "engine"
    folder.mkdir()
    return Path(shutil.copy(ensure_manifest(Settings()), folder))


@pytest.fixture(scope="module")
def translated(manifest: Path) -> DbtSpecs:
    return dbt_specs(manifest)


def kept(manifest: Path) -> Path:
    (file,) = manifest.parent.with_name("specs").iterdir()
    return file


def test_they_are_those_of_dagster_dbt(manifest: Path, translated: DbtSpecs) -> None:
    """All that it says, but for its own objects and the SQL in the descriptions."""
    models = dbt_assets(manifest=manifest, name="models", exclude="resource_type:seed resource_type:unit_test resource_type:exposure")(
        lambda: None
    )
    own = {spec.key: spec for spec in models.specs}
    assert {spec.key for spec in translated.assets} == set(own)
    for spec in translated.assets:
        whole = own[spec.key]
        metadata = {name: value for name, value in whole.metadata.items() if name in spec.metadata}
        assert set(whole.metadata) - set(metadata) == {"dagster_dbt/manifest", "dagster_dbt/dagster_dbt_translator"}
        assert spec == whole.replace_attributes(metadata=metadata, description=spec.description)
        assert spec.description
        assert str(whole.description).startswith(spec.description)
    assert {check.key: check for check in translated.checks} == {check.key: check for check in models.check_specs}


def test_what_is_kept_gives_the_same_specs(manifest: Path, translated: DbtSpecs) -> None:
    assert kept(manifest).is_file()
    assert dbt_specs(manifest) == translated


def test_a_file_that_was_cut_short_is_made_anew(manifest: Path, translated: DbtSpecs) -> None:
    file = kept(manifest)
    whole = file.read_text()
    file.write_text(whole[: len(whole) // 2])
    assert dbt_specs(manifest) == translated
    assert file.read_text() == whole


def test_a_folder_that_cannot_be_written_keeps_nobody_from_loading(manifest: Path, translated: DbtSpecs, tmp_path: Path) -> None:
    (tmp_path / "specs").write_text("no folder")
    (tmp_path / "engine").mkdir()
    assert dbt_specs(Path(shutil.copy(manifest, tmp_path / "engine"))) == translated


def test_a_process_loads_the_definitions_without_dbt(tmp_path: Path) -> None:
    """Each run is a process that loads them all: with dbt that took twice the time."""
    build_definitions(Settings())
    script = "import sys\nfrom mg_lakehouse.definitions import defs\ndefs().get_repository_def()\nprint({'dbt', 'dagster_dbt'} & set(sys.modules))"
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "MG_", "DAGSTER_"))}
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=kept, capture_output=True, text=True, check=False, timeout=120)
    assert done.stdout.strip() == "set()", done.stderr
