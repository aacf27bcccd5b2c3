"""DuckDB connections that read the lake: UTC, offline, credentials from boto3.

The extensions are loaded from the files inside their wheels, so that nothing is installed, downloaded or
written to a home folder. What is queried is the business of the dbt project and of the catalogue of views.
"""

from __future__ import annotations

import atexit
import itertools
import tempfile
import threading
from collections.abc import Callable, Sequence
from functools import cache
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import duckdb
from deltalake import DeltaTable

from mg_lakehouse._util.temp_folders import OwnFolder
from mg_lakehouse.errors import ConfigurationError
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.location import address_of

__all__ = [
    "Snapshots",
    "configure",
    "connect",
    "connection_options",
    "file_list",
    "identifier",
    "private_folder",
    "text",
    "text_list",
]

_IN_MEMORY: Final = ":memory:"
_databases: Final = itertools.count(1)


def text(value: str) -> str:
    """SQL literal of a text."""
    return "'" + value.replace("'", "''") + "'"


def text_list(values: Sequence[str]) -> str:
    """SQL literal of a list of texts."""
    return "[" + ", ".join(text(value) for value in values) + "]"


_PATTERN: Final = str.maketrans({sign: f"[{sign}]" for sign in "*?["})


def file_list(files: Sequence[str]) -> str:
    """SQL literal of a list of files for DuckDB's readers, which take a name for a pattern: `a?b` would be read with its copy `a-b`."""
    return text_list([file.translate(_PATTERN) for file in files])


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


def connection_options(database: str = _IN_MEMORY) -> dict[str, str]:
    """Options of `duckdb.connect` for one database: off the network, and with a place of its own to spill to.

    DuckDB makes the place when it first spills and removes it with the database. Two databases in one place would
    overwrite each other's data, while the connections of a process to one file must name the same place.
    """
    place = next(_databases) if database == _IN_MEMORY else sha256(str(Path(database).absolute()).encode()).hexdigest()
    return {
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
        "temp_directory": f"{private_folder()}/{place}",
    }


@cache
def private_folder() -> str:
    """A folder of this process, removed as it ends. What spills can hold addresses, and DuckDB leaves it readable to all."""
    folder = OwnFolder(Path(tempfile.gettempdir()), "mg-lakehouse-duckdb-")
    atexit.register(folder.remove)
    return str(folder.path)


def connect(lake: Lake, database: str = _IN_MEMORY, *, read_only: bool = False) -> duckdb.DuckDBPyConnection:
    """A connection that can `delta_scan` the tables of the lake. Secrets that a user of the machine keeps for DuckDB have no say.

    Raises:
        ConfigurationError: an extension is not installed.
    """
    connection = duckdb.connect(database, read_only=read_only, config={**connection_options(database), "allow_persistent_secrets": "false"})
    # After 2 s DuckDB draws one on standard output, which may be the file that the rows go to. A cursor has what its connection has.
    connection.execute("SET enable_progress_bar = false")
    configure(connection, lake)
    return connection


def configure(connection: duckdb.DuckDBPyConnection, lake: Lake) -> None:
    """Load the extensions, make the S3 secret and set the time zone, once for a database; all its cursors share them.

    Raises:
        ConfigurationError: an extension is not installed.
    """
    connection.execute("SET GLOBAL TimeZone = 'UTC'")
    # https first: delta takes over its file system when it is there.
    for name in ("delta",) if lake.is_local else ("httpfs", "delta"):
        connection.execute(f"LOAD {text(str(extension_file(name)))}")
    if lake.is_local:
        # What the system caches anyway, DuckDB would keep again, up to its limit: half a GiB at 30 M events.
        connection.execute("SET GLOBAL enable_external_file_cache = false")
    else:
        connection.execute(_s3_secret(lake))
        # A data file never changes, and its name never comes again: one HEAD of each is enough.
        connection.execute("SET GLOBAL enable_http_metadata_cache = true")


class Snapshots:
    """Versions of Delta tables that a database reads, each from its log once. Safe to use from several threads.

    Each use of ``delta_scan`` reads the log anew: a first build of gold opened the logs of an S3 lake 250 times and made 1,500 requests.
    An attached table is pinned to its version and read when it is first looked at.
    """

    def __init__(self, cursor: Callable[[], duckdb.DuckDBPyConnection]) -> None:
        self._cursor = cursor
        self._lock = threading.Lock()
        self._names: dict[tuple[str, int], str] = {}

    def of(self, handle: DeltaTable) -> str:
        """SQL of the rows of a table at the version of its handle, as a source of a ``from``."""
        address, version = address_of(handle.table_uri).rstrip("/"), handle.version()
        with self._lock:
            name = self._names.get((address, version))
            if name is None:
                name = identifier(f"{'_'.join(address.split('/')[-2:])}_{version}")
                self._cursor().execute(f"ATTACH {text(address)} AS {name} (TYPE delta, READ_ONLY, VERSION {version})")
                self._names[address, version] = name
        return f"{name}.main.{name}"


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
