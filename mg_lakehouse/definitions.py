"""What Dagster loads: ``module_name: mg_lakehouse.definitions`` of a ``workspace.yaml``. It is put together in :mod:`mg_lakehouse.dagster.build`."""

from mg_lakehouse.dagster.build import build_definitions, defs

__all__ = ["build_definitions", "defs"]
