"""DuckDB connections that read the lake: UTC, offline, credentials from boto3.

The extensions are loaded from the files inside their wheels, so that nothing is installed, downloaded or
written to a home folder. What is queried is the business of the dbt project and of the catalogue of views.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import duckdb

from mg_lakehouse.errors import ConfigurationError
from mg_lakehouse.stores.lake import Lake

__all__ = ["CONNECTION_OPTIONS", "configure", "configure_cursor", "connect", "identifier", "text", "text_list"]

CONNECTION_OPTIONS: Final[dict[str, str]] = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
}
"""Options of `duckdb.connect` that keep DuckDB from reaching for the network."""


def text(value: str) -> str:
    """SQL literal of a text."""
    return "'" + value.replace("'", "''") + "'"


def text_list(values: Sequence[str]) -> str:
    """SQL literal of a list of texts."""
    return "[" + ", ".join(text(value) for value in values) + "]"


def identifier(name: str) -> str:
    """SQL identifier, quoted."""
    return '"' + name.replace('"', '""') + '"'


def extension_file(name: str) -> Path:
    """File of a DuckDB extension inside its wheel.

    Raises:
        ConfigurationError: the wheel is missing, or is of another DuckDB version.
    """
    spec = find_spec(f"duckdb_extension_{name}")
    folders = [] if spec is None else [Path(folder) for folder in spec.submodule_search_locations or []]
    for folder in folders:
        file = folder / "extensions" / f"v{duckdb.__version__}" / f"{name}.duckdb_extension"
        if file.is_file():
            return file
    raise ConfigurationError(
        f"The DuckDB extension `{name}` {duckdb.__version__} is not installed: run `pip install duckdb-extension-{name}=={duckdb.__version__}`."
    )


def connect(lake: Lake, database: str = ":memory:", *, read_only: bool = False) -> duckdb.DuckDBPyConnection:
    """A connection that can `delta_scan` the tables of the lake.

    Raises:
        ConfigurationError: an extension is not installed.
    """
    options = CONNECTION_OPTIONS | {"temp_directory": tempfile.mkdtemp(prefix="mg-lakehouse-duckdb-")}
    connection = duckdb.connect(database, read_only=read_only, config=dict(options))
    configure(connection, lake)
    configure_cursor(connection)
    return connection


def configure(connection: duckdb.DuckDBPyConnection, lake: Lake) -> None:
    """Load the extensions and make the S3 secret, once for a database; all its cursors share them.

    Raises:
        ConfigurationError: an extension is not installed.
    """
    # https first: delta takes over its file system when it is there.
    for name in ("delta",) if lake.is_local else ("httpfs", "delta"):
        connection.execute(f"LOAD {text(str(extension_file(name)))}")
    if not lake.is_local:
        connection.execute(_s3_secret(lake))


def configure_cursor(cursor: duckdb.DuckDBPyConnection) -> None:
    """Set what a cursor does not take over from its connection: the time zone."""
    cursor.execute("SET TimeZone = 'UTC'")


def _s3_secret(lake: Lake) -> str:
    """The credentials that delta-rs gets, as a DuckDB secret of this process only."""
    options = lake.storage_options()
    fields = ["TYPE s3", f"REGION {text(options['aws_region'])}", f"SCOPE {text(lake.root)}"]
    if key := options.get("aws_access_key_id"):
        fields += [f"KEY_ID {text(key)}", f"SECRET {text(options['aws_secret_access_key'])}"]
    if token := options.get("aws_session_token"):
        fields.append(f"SESSION_TOKEN {text(token)}")
    if endpoint := options.get("aws_endpoint_url"):
        scheme, _, host = endpoint.partition("://")
        fields += [f"ENDPOINT {text(host.rstrip('/'))}", f"USE_SSL {str(scheme == 'https').lower()}", "URL_STYLE 'path'"]
    return f"CREATE OR REPLACE SECRET mg_lakehouse ({', '.join(fields)})"
