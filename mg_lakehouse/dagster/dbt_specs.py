"""What dagster-dbt makes of a manifest: the specs of its models and tests, kept in a file of the same content.

dagster-dbt imports dbt, which takes 1.3 s of a core, and each run is a process of its own that loads all definitions. What it makes follows from
the manifest alone, so only the first process with a manifest imports it. What belongs here: the specs as dagster-dbt makes them. What does not:
what this project adds to them (:mod:`mg_lakehouse.dagster.assets.gold`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import dagster as dg

from mg_lakehouse._util.temp_folders import OwnFolder

__all__ = ["DbtSpecs", "dbt_specs"]

_NO_ASSETS: Final = "resource_type:seed resource_type:unit_test resource_type:exposure"
"""The engine loads the seeds into every build; unit tests check the code, not the data; exposures only say who reads."""

_ASSET: Final = ("key", "description", "metadata", "group_name", "skippable", "code_version", "owners", "tags")
_CHECK: Final = ("name", "description", "blocking", "metadata")
"""What dagster-dbt says of a model and of a test, beside what they depend on."""

_OBJECTS: Final = frozenset({"dagster_dbt/manifest", "dagster_dbt/dagster_dbt_translator"})
"""Metadata for `DbtCliResource`, which nothing runs here: the whole manifest, and dagster-dbt's own objects."""

_KEPT: Final = 12
"""As many files as manifests."""


@dataclass(frozen=True, slots=True)
class DbtSpecs:
    """The specs of a project's models and of their tests, by dagster-dbt's default names."""

    assets: tuple[dg.AssetSpec, ...]
    checks: tuple[dg.AssetCheckSpec, ...]


def dbt_specs(manifest: Path) -> DbtSpecs:
    """The specs of a manifest whose file name is that of its content. Imports dagster-dbt where no process did so before with that content.

    Raises:
        OSError: the manifest cannot be read.
    """
    folder = manifest.parent.with_name("specs")
    file = folder / f"{manifest.stem}-{_code()}.json"
    with suppress(OSError, ValueError):  # not there, or cut short by a power cut
        return _decoded(file.read_text())
    specs = _translated(manifest)
    with suppress(OSError):  # without the file, the next process translates again
        with OwnFolder(folder, "translation-") as own:
            draft = own.path / file.name
            draft.write_text(_encoded(specs))
            draft.replace(file)
        for old in sorted(folder.glob("*.json"), key=lambda each: each.stat().st_mtime)[:-_KEPT]:
            old.unlink()
    return specs


def _code() -> str:
    """Digest of what the specs depend on beside the manifest."""
    versions = "".join(map(version, ("dagster", "dagster-dbt")))
    return hashlib.sha256(versions.encode() + Path(__file__).read_bytes()).hexdigest()[:12]


def _translated(manifest: Path) -> DbtSpecs:
    from dagster_dbt import DagsterDbtTranslator, dbt_assets  # noqa: PLC0415  it takes 1.3 s of a core

    class Translator(DagsterDbtTranslator):
        def get_description(self, dbt_resource_props: Mapping[str, Any]) -> str:
            """Return the model's description without its SQL, which would push the columns off the page."""
            return str(dbt_resource_props["description"])

    decorator = dbt_assets(name="models", manifest=manifest, dagster_dbt_translator=Translator(), exclude=_NO_ASSETS)
    models = decorator(lambda: None)
    return DbtSpecs(
        tuple(_without_objects(spec) for spec in sorted(models.specs, key=lambda spec: spec.key)),
        tuple(sorted(models.check_specs, key=lambda check: check.key)),
    )


def _without_objects(spec: dg.AssetSpec) -> dg.AssetSpec:
    return spec.replace_attributes(metadata={name: value for name, value in spec.metadata.items() if name not in _OBJECTS})


def _encoded(specs: DbtSpecs) -> str:
    return dg.serialize_value(
        {
            "assets": [{name: getattr(spec, name) for name in _ASSET} | {"deps": _fields(spec.deps)} for spec in specs.assets],
            "checks": [
                {name: getattr(check, name) for name in _CHECK}
                | {"asset": check.asset_key, "additional_deps": _fields(check.additional_deps)}
                for check in specs.checks
            ],
        }
    )


def _fields(deps: Any) -> list[dict[str, Any]]:
    return [{"asset": dep.asset_key, "metadata": dep.metadata} for dep in deps]


def _decoded(text: str) -> DbtSpecs:
    document: Any = dg.deserialize_value(text)
    return DbtSpecs(
        tuple(dg.AssetSpec(**fields | {"deps": _deps(fields["deps"])}) for fields in document["assets"]),
        tuple(dg.AssetCheckSpec(**fields | {"additional_deps": _deps(fields["additional_deps"])}) for fields in document["checks"]),
    )


def _deps(fields: list[dict[str, Any]]) -> list[dg.AssetDep]:
    return [dg.AssetDep(**dep) for dep in fields]
