"""Starts the process that runs ad hoc queries, and defines all that it gets.

It gets the lake, the store's credentials over a pipe, a copy of the catalogue, and a folder. Of this process's environment it gets only the few
variables that Python and TLS need. It may read the lake's three layers, Python, and the system files that libraries look up.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import mg_lakehouse
from mg_lakehouse.errors import PermanentError
from mg_lakehouse.gold.names import gold_models
from mg_lakehouse.lake.scratch import scratch_folder
from mg_lakehouse.location import Location
from mg_lakehouse.serving.sandbox.process import Order

if TYPE_CHECKING:
    from mg_lakehouse.settings import Settings

__all__ = ["child_environment", "order_for", "started"]

_PROGRAM: Final = "mg_lakehouse.serving.sandbox.process"
_LAYERS: Final = ("bronze", "silver", "gold")
_KEPT: Final = frozenset({"LANG", "LC_ALL", "LC_CTYPE", "LD_LIBRARY_PATH", "PYTHONDONTWRITEBYTECODE", "PYTHONHOME"})
_KEPT_FOR_STORE: Final = frozenset({"ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "SSL_CERT_DIR", "SSL_CERT_FILE"})
_SYSTEM: Final = ("/dev/urandom", "/etc/ld.so.cache", "/etc/localtime", "/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/share/zoneinfo")
_MACHINE: Final = (
    # DuckDB computes its limits from the machine's memory and processors.
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/self/cgroup",
    "/proc/sys/vm/overcommit_memory",
    "/sys/devices/system/cpu",
    "/sys/fs/cgroup",
)
_NETWORK: Final = (
    "/etc/ca-certificates",
    "/etc/crypto-policies",
    "/etc/gai.conf",
    "/etc/host.conf",
    "/etc/hosts",
    "/etc/nsswitch.conf",
    "/etc/pki",
    "/etc/resolv.conf",
    "/etc/services",
    "/etc/ssl",
    "/usr/share/ca-certificates",
)
_DNS: Final = 53
_PORTS: Final = {"http": 80, "https": 443}


@contextmanager
def started(lake: Location, settings: Settings) -> Iterator[tuple[Connection, subprocess.Popen[bytes]]]:
    """Start the process, and yield the pipe to it and the process. Its first answer says whether it could open the catalogue.

    The process is killed and its folder removed afterwards.

    Raises:
        PermanentError: it cannot be started.
    """
    with _folder() as folder:
        ours, theirs = Pipe()
        with ours:
            with theirs:
                process = _process(theirs, folder, child_environment(os.environ, folder, local=lake.is_local))
            try:
                ours.send_bytes(json.dumps(order_for(lake, folder)).encode())
                ours.send_bytes(json.dumps(gold_models(settings)).encode())
                yield ours, process
            finally:
                process.kill()
                process.wait()


@contextmanager
def _folder() -> Iterator[Path]:
    with scratch_folder("sql") as own:
        if "?" in str(own.path):
            raise PermanentError(
                "The path of the temporary folder contains ?, which DuckDB does not support: set TMPDIR to another folder."
            )
        yield own.path


def _process(pipe: Connection, folder: Path, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", _PROGRAM, str(pipe.fileno())],
            pass_fds=[pipe.fileno()],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            # Ctrl-C goes to the prompt, which then sends a request to stop.
            start_new_session=True,
        )
    except OSError as error:
        raise PermanentError(f"The process that runs the queries cannot be started ({error.strerror}).") from error


def child_environment(variables: os._Environ[str] | dict[str, str], folder: Path, *, local: bool) -> dict[str, str]:
    """Return all environment variables of the process: no credential, and nothing that leads to one."""
    kept = _KEPT if local else _KEPT | _KEPT_FOR_STORE
    passed = {name: value for name, value in variables.items() if name.upper() in kept}
    return passed | {
        "HOME": str(folder),
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "TMPDIR": str(folder),
        # OpenBLAS would start threads before the kernel restricts the process, and nothing here multiplies matrices.
        "OPENBLAS_NUM_THREADS": "1",
    }


def order_for(lake: Location, folder: Path) -> Order:
    """Build the process's order."""
    return Order(
        lake=lake.uri if not lake.is_local else lake.root,
        resolved=lake.storage_options(),
        folder=str(folder),
        readable=[str(path) for path in [*_python(lake), *_of_lake(lake), *map(Path, _SYSTEM), *map(Path, _MACHINE), *_for_store(lake)]],
        ports=[] if lake.is_local else sorted(_store_ports(lake)),
    )


def _of_lake(lake: Location) -> Iterator[Path]:
    """Yield the three layers, and the targets of tables that are symbolic links."""
    for layer in (Path(lake.root, name) for name in _LAYERS if lake.is_local):
        yield layer
        if layer.is_dir():
            yield from (table.resolve() for table in layer.iterdir() if table.is_symlink())


def _python(lake: Location) -> Iterator[Path]:
    """Yield Python, its libraries and this package, but no path entry that contains the lake, the home or the working directory."""
    yield from (Path(mg_lakehouse.__file__).parent, Path(sys.prefix), Path(sys.base_prefix), Path(sys.executable).resolve().parent)
    yield from {Path(path) for path in sysconfig.get_paths().values()}
    kept = [Path.cwd(), Path(os.environ.get("HOME", "/")), *([Path(lake.root)] if lake.is_local else [])]
    for entry in (Path(entry).resolve() for entry in sys.path if entry):
        if not any(place.resolve().is_relative_to(entry) for place in kept):
            yield entry


def _for_store(lake: Location) -> Iterator[Path]:
    if not lake.is_local:
        yield from map(Path, _NETWORK)
        yield from (Path(value) for name in ("SSL_CERT_DIR", "SSL_CERT_FILE") if (value := os.environ.get(name)))


def _store_ports(lake: Location) -> set[int]:
    """Return the ports of the store, of the proxies to it, and of DNS over TCP."""
    proxies = [value for name, value in os.environ.items() if name.upper() in ("ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY")]
    addresses = [lake.storage_options().get("aws_endpoint_url") or "https://", *proxies]
    parts = [urlsplit(address if "://" in address else f"http://{address}") for address in addresses]
    return {_DNS, *(part.port or _PORTS.get(part.scheme, 443) for part in parts)}
