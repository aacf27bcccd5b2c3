"""Opens DuckDB connections that read the lake: UTC, offline, credentials from boto3.

The extensions are loaded from the files inside their wheels, so nothing is installed, downloaded or
written to a home folder. The queries belong to the dbt project and to the catalogue of views.
"""

from __future__ import annotations

import atexit
import itertools
import os
from functools import cache
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import duckdb

from mg_lakehouse._util.aws import CERTIFICATES
from mg_lakehouse.errors import ConfigurationError
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.lake.scratch import scratch_folder
from mg_lakehouse.lake.sql import text

__all__ = [
    "configure",
    "connect",
    "connection_options",
    "extension_file",
    "private_folder",
]

_IN_MEMORY: Final = ":memory:"
_databases: Final = itertools.count(1)


def extension_file(name: str) -> Path:
    """Return the file of a DuckDB extension inside its wheel.

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


def connection_options(database: str = _IN_MEMORY) -> dict[str, str]:
    """Return the options of `duckdb.connect` for one database: offline, and with its own folder to spill to.

    DuckDB creates the folder when it first spills and removes it with the database. Two databases in one folder would
    overwrite each other's data, while the connections of a process to one file must name the same folder.
    """
    place = next(_databases) if database == _IN_MEMORY else sha256(str(Path(database).absolute()).encode()).hexdigest()
    return {
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
        "temp_directory": f"{private_folder()}/{place}",
    }


@cache
def private_folder() -> str:
    """Return a folder of this process, removed when it ends. Spilled data can hold addresses, and DuckDB makes it readable for all.

    Raises:
        PermanentError: it cannot be made.
    """
    folder = scratch_folder("duckdb")
    atexit.register(folder.remove)
    return str(folder.path)


def connect(lake: Lake, database: str = _IN_MEMORY, *, read_only: bool = False) -> duckdb.DuckDBPyConnection:
    """Open a connection that can `delta_scan` the lake's tables. It ignores the secrets that a user keeps for DuckDB on this machine.

    Raises:
        ConfigurationError: an extension is not installed.
    """
    connection = duckdb.connect(database, read_only=read_only, config={**connection_options(database), "allow_persistent_secrets": "false"})
    # After 2 s DuckDB draws one on standard output, which may be the file for the rows. Cursors share the setting.
    connection.execute("SET enable_progress_bar = false")
    configure(connection, lake)
    return connection


def configure(connection: duckdb.DuckDBPyConnection, lake: Lake, *, reads_logs: bool = True) -> None:
    """Load the extensions, create the S3 secret and set the time zone, once per database; all its cursors share them.

    ``reads_logs`` says whether `delta_scan` is used; who has the files from a handle needs it not.

    Raises:
        ConfigurationError: an extension is not installed.
    """
    connection.execute("SET GLOBAL TimeZone = 'UTC'")
    # https first: delta uses its file system if it is loaded.
    for name in [*([] if lake.is_local else ["httpfs"]), *(["delta"] if reads_logs else [])]:
        connection.execute(f"LOAD {text(str(extension_file(name)))}")
    if lake.is_local:
        # DuckDB would cache again what the system caches anyway, up to its limit: half a GiB at 30 M events.
        connection.execute("SET GLOBAL enable_external_file_cache = false")
    else:
        connection.execute(_s3_secret(lake))
        if trusted := os.environ.get(CERTIFICATES):
            connection.execute(f"SET GLOBAL ca_cert_file = {text(trusted)}")
        # A data file never changes, and its name is never used again: one HEAD for each is enough.
        connection.execute("SET GLOBAL enable_http_metadata_cache = true")
        connection.execute("SET GLOBAL parquet_metadata_cache = true")


def _s3_secret(lake: Lake) -> str:
    """Return the statement for a DuckDB secret of this process, with delta-rs's credentials."""
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
