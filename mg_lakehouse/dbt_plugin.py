"""The name that a dbt profile calls the plugin by: ``module: mg_lakehouse.dbt_plugin``. The plugin is :mod:`mg_lakehouse.gold.dbt_plugin`."""

from mg_lakehouse.gold.dbt_plugin import Plugin

__all__ = ["Plugin"]
