"""Which gold tables there are, read off the dbt project. It imports nothing large, so that who only needs names does not wait for what reads tables."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from mg_lakehouse.errors import ConfigurationError
from mg_lakehouse.gold.contract import PROJECT_DIR, marts
from mg_lakehouse.location import VENDOR_TOTALS_NAME

if TYPE_CHECKING:  # pydantic takes 0.2 s
    from mg_lakehouse.settings import Settings

__all__ = ["dbt_models", "gold_models", "project_dir"]

_FOLDER: Final = "dbt_project"


def project_dir(settings: Settings) -> Path:
    """The folder of the dbt project: `MG_DBT_PROJECT_DIR`, else inside the package, else beside it (a source tree).

    Raises:
        ConfigurationError: there is no project there.
    """
    package = Path(__file__).resolve().parents[1]
    candidates = [settings.dbt_project_dir] if settings.dbt_project_dir else [package / _FOLDER, package.parent / _FOLDER]
    for candidate in candidates:
        if (candidate / "dbt_project.yml").is_file():
            return candidate.absolute()
    looked = " and ".join(str(candidate) for candidate in candidates)
    raise ConfigurationError(f"No dbt project was found in {looked}: set {PROJECT_DIR} to the folder that holds dbt_project.yml.")


def dbt_models(settings: Settings) -> tuple[str, ...]:
    """Names of the gold tables that dbt builds, in alphabetical order.

    Raises:
        ConfigurationError: there is no project.
    """
    return marts(project_dir(settings))


def gold_models(settings: Settings) -> tuple[str, ...]:
    """Names of the gold tables, in alphabetical order.

    Raises:
        ConfigurationError: there is no project.
    """
    return tuple(sorted([*dbt_models(settings), VENDOR_TOTALS_NAME]))
