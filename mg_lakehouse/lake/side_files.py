"""Files of ours beside a Delta table, in a folder of it whose name begins with ``_``: Delta's readers and its vacuum pass over such a folder.

They go with the table wherever it is copied or moved to, and are removed with it. A file is written whole or not at all, under a name that says what
is in it, and never changes.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import obstore
from obstore.exceptions import BaseError, NotFoundError

from mg_lakehouse.lake.durable import sync_file
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.location import Layer

__all__ = ["SideFiles", "drafted"]

_ABANDONED_SECONDS = 3_600
"""Age of a draft whose writer is gone."""


@dataclass(frozen=True, slots=True)
class SideFiles:
    """The files in a folder of a table, such as ``_known_ids`` of ``silver/opens``. All methods raise OSError where the store or the disk fails.

    Those of a local lake are read and written as files: see :func:`drafted`, which a rename gives its name.
    """

    lake: Lake
    layer: Layer
    table: str
    folder: str

    @property
    def local(self) -> Path | None:
        """The folder on this machine; ``None`` if it is in an object store."""
        return Path(self.lake.uri_of(self.layer, self.table), self.folder) if self.lake.is_local else None

    @property
    def _prefix(self) -> str:
        return f"{self.layer}/{self.table}/{self.folder}"

    @property
    def _store(self) -> obstore.store.S3Store:
        return self.lake.handles.store(self.lake.root, self.lake.storage_options())

    def sizes(self) -> dict[str, int]:
        """List the files, with their bytes."""
        if (folder := self.local) is not None:
            found = (Path(above, name) for above, _, names in os.walk(folder) for name in names if not name.startswith("."))
            return {str(file.relative_to(folder)): size for file in found if (size := _size(file)) is not None}
        try:
            listed = list(chain.from_iterable(obstore.list(self._store, self._prefix)))
        except BaseError as error:
            raise OSError(str(error)) from error
        return {meta["path"].removeprefix(f"{self._prefix}/"): meta["size"] for meta in listed}

    def chunks(self, name: str) -> Iterator[bytes]:
        """Read a file of the store piece by piece.

        Raises:
            FileNotFoundError: there is none.
        """
        try:
            yield from map(bytes, obstore.get(self._store, f"{self._prefix}/{name}").stream())
        except NotFoundError as error:
            raise FileNotFoundError(name) from error
        except BaseError as error:
            raise OSError(str(error)) from error

    def read_ranges(self, name: str, starts: Sequence[int], ends: Sequence[int]) -> list[bytes]:
        """Read ranges of bytes of a file of the store; near ones in one request.

        Raises:
            FileNotFoundError: there is none.
        """
        try:
            return [bytes(part) for part in obstore.get_ranges(self._store, f"{self._prefix}/{name}", starts=starts, ends=ends)]
        except NotFoundError as error:
            raise FileNotFoundError(name) from error
        except BaseError as error:
            raise OSError(str(error)) from error

    def put(self, name: str, content: bytes | Path) -> None:
        """Write a file of the store."""
        try:
            obstore.put(self._store, f"{self._prefix}/{name}", content)
        except BaseError as error:
            raise OSError(str(error)) from error

    def remove(self, names: Collection[str]) -> None:
        """Remove files; those that are gone already are no error. Of a local folder, drafts whose writers are gone too."""
        if (folder := self.local) is not None:
            for file in (*(folder / name for name in names), *_abandoned(folder)):
                file.unlink(missing_ok=True)
        elif names:
            try:
                obstore.delete(self._store, [f"{self._prefix}/{name}" for name in names])
            except NotFoundError:
                return
            except BaseError as error:
                raise OSError(str(error)) from error


def drafted(folder: Path, chunks: Iterable[bytes]) -> Path:
    """Write a draft in a folder of this machine, which is made if it is missing, through to the disk."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f".{uuid.uuid4().hex}"
    with file.open("xb") as out:
        for chunk in chunks:
            out.write(chunk)
    sync_file(file)
    return file


def _size(file: Path) -> int | None:
    try:
        return file.stat().st_size
    except FileNotFoundError:  # removed since it was listed
        return None


def _abandoned(folder: Path) -> list[Path]:
    before = time.time() - _ABANDONED_SECONDS
    try:
        return [Path(entry.path) for entry in os.scandir(folder) if entry.name.startswith(".") and entry.stat().st_mtime < before]
    except FileNotFoundError:
        return []
