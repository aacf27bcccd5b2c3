"""The dbt-duckdb plugin for dbt by itself: `dbt build`, `dbt test`, `dbt show` over any lake, into a database of its own.

Named in ``dbt_project/profiles.yml``. It shows silver as the sources, and the gold tables that stand in the lake, until a run of dbt makes tables
of its own. It never writes to the lake: that does :mod:`mg_lakehouse.gold.engine`, which runs the same models.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import duckdb
from dbt.adapters.duckdb.plugins import BasePlugin

from mg_lakehouse.events.catalogue import silver_tables
from mg_lakehouse.gold import addresses, user_agents
from mg_lakehouse.gold.changes import empty_rows
from mg_lakehouse.gold.contract import GOLD_SCHEMA
from mg_lakehouse.gold.engine import as_of_from_environment, build_variables, seed_rows, set_variables
from mg_lakehouse.gold.names import dbt_models, project_dir
from mg_lakehouse.lake import duck
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.lake.sql import identifier, text
from mg_lakehouse.location import Layer
from mg_lakehouse.settings import Settings, load_settings

__all__ = ["Plugin"]


class Plugin(BasePlugin):
    """dbt-duckdb makes one of these for a process."""

    def initialize(self, plugin_config: dict[str, Any]) -> None:  # noqa: ARG002  nothing comes from the profile
        """Read the settings; the connection comes later."""
        self._settings: Settings = load_settings(dotenv=None)
        self._lake = Lake(self._settings.lake_uri)

    def update_connection_config(self, creds: Any, config: dict[str, Any]) -> None:
        """Keep DuckDB off the network and its spills out of the working folder."""
        self._database = Path(creds.path)
        config.update(duck.connection_options(creds.path))
        if creds.path != ":memory:":
            self._database.parent.mkdir(parents=True, exist_ok=True)

    def configure_connection(self, conn: duckdb.DuckDBPyConnection) -> None:
        """Load the extensions, and show the lake's tables. The database will hold addresses: nobody else may read it."""
        if self._database.is_file():
            self._database.chmod(0o600)
        self._variables = build_variables(self._lake, self._settings, as_of_from_environment())
        duck.configure(conn, self._lake)
        with suppress(duckdb.CatalogException):  # dbt closes and opens the database, which lives on in the process with its functions
            user_agents.register(conn)
            addresses.register(conn)
        own = {name for (name,) in conn.execute(f"select table_name from duckdb_tables() where schema_name = '{GOLD_SCHEMA}'").fetchall()}
        _show(conn, self._lake, "silver", {table: empty_rows(table) for table in silver_tables()})
        _show(conn, self._lake, "gold", {name: "" for name in dbt_models(self._settings) if name not in own})
        for file in sorted((project_dir(self._settings) / "seeds").glob("*.csv")):
            conn.execute(f"create or replace table {_schema(conn, 'gold')}.{identifier(file.stem)} as from {seed_rows(file)}")

    def configure_cursor(self, cursor: duckdb.DuckDBPyConnection) -> None:
        """Set what the models read of the build."""
        set_variables(cursor, self._variables)


def _schema(connection: duckdb.DuckDBPyConnection, layer: Layer) -> str:
    """A schema of the database with its full name: the database may be called `gold` too."""
    (database,) = connection.execute("select current_database()").fetchone() or ("",)
    return f"{identifier(str(database))}.{layer}"


def _show(connection: duckdb.DuckDBPyConnection, lake: Lake, layer: Layer, without: dict[str, str]) -> None:
    """Make a view of each table of a layer; of one that does not exist, of the query given for it, if any."""
    schema = _schema(connection, layer)
    connection.execute(f"create schema if not exists {schema}")
    for name, handle in lake.open_all(layer, list(without)).items():
        rows = without[name] if handle is None else f"from delta_scan({text(lake.uri_of(layer, name))})"
        if handle is not None and without[name]:
            rows = f"{without[name]} union all by name {rows}"
        view = f"{schema}.{identifier(name)}"
        connection.execute(f"create or replace view {view} as {rows}" if rows else f"drop view if exists {view}")
