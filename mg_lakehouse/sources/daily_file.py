"""Downloads a daily file, plain or as a zip, and checks the whole of it before any of it becomes data."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import IO, Final

from mg_lakehouse.errors import PermanentError, TransientError
from mg_lakehouse.events.formats.archives import ZIP_BEGINS, has_password, is_bomb
from mg_lakehouse.events.formats.xml_file import ActivityFileReader
from mg_lakehouse.sources.web_service import WebService, with_progress

__all__ = ["ActivityFile", "ProgressCallback", "download_activity", "inspect"]

ProgressCallback = Callable[[int, str], None]
"""Called with how far a file is: a number, and its unit."""

_CHUNK: Final = 2**20

_LARGEST_BYTES: Final = 2**38


@dataclass(frozen=True, slots=True)
class ActivityFile:
    """A whole daily file: ``fetched`` bytes as received, ``bytes`` when unpacked.

    ``sha256`` is the digest of the text among its items, for the rest differs in each download. ``complete`` states whether its
    end tags are there, ``undecodable`` whether it has bytes that are not text.
    """

    path: Path
    day: date
    activity_type: str
    fetched: int
    bytes: int
    sha256: str
    items: int
    bundles: int
    complete: bool
    undecodable: bool

    @contextmanager
    def reader(self) -> Iterator[ActivityFileReader]:
        """Open the file for reading its bundles once more."""
        with _unpacked(self.path, str(self)) as file:
            yield ActivityFileReader(iter(lambda: file.read(_CHUNK), b""))

    def __str__(self) -> str:
        return f"The file {self.activity_type} of {self.day}"


def download_activity(
    service: WebService, day: date, activity_type: str, folder: Path, *, progress: ProgressCallback | None = None
) -> ActivityFile:
    """Fetch the daily file of a type, as a zip, into a folder. ``progress`` is called with the bytes fetched, and with those read.

    Raises:
        PermanentError: the service refuses the key, the type or the date (in the future, or not there yet). Or it is not a file of activities.
        TransientError: no try brought a whole file.
    """
    form = {"Action": "AccountActivity", "ActivityDate": day.isoformat(), "ActivityType": activity_type, "UseCompression": "TRUE"}
    what = f"The file {activity_type} of {day}"
    target = folder / f"{day.isoformat()}_{activity_type}"

    def check(part: Path, ends: bool) -> ActivityFile:  # noqa: FBT001  as it is called
        file = inspect(part, day=day, activity_type=activity_type, progress=_with_unit("bytes read", progress))
        if not (file.complete or ends):
            raise TransientError(f"{what} was cut off before its end: try again.")
        return file

    return replace(service.download(what, form, target, check, progress=_with_unit("bytes fetched", progress)), path=target)


def _with_unit(unit: str, progress: ProgressCallback | None) -> Callable[[int], None] | None:
    return None if progress is None else lambda done: progress(done, unit)


def inspect(
    path: Path, *, day: date, activity_type: str, largest_bytes: int = _LARGEST_BYTES, progress: Callable[[int], None] | None = None
) -> ActivityFile:
    """Read a whole file: check that it unpacks and is a file of activities, and count what is in it.

    ``progress`` is called with the number of unpacked bytes so far, after every 64 MiB.

    Raises:
        PermanentError: it is not a file of activities, or unpacks to far more than it should.
        TransientError: it is damaged or was cut off.
    """
    what = f"The file {activity_type} of {day}"
    length = items = bundles = 0

    def chunks(file: IO[bytes]) -> Iterator[bytes]:
        nonlocal length
        while chunk := file.read(_CHUNK):
            length += len(chunk)
            if length > largest_bytes:
                raise PermanentError(f"{what} unpacks to more than {largest_bytes:,} bytes, which is refused.")
            yield chunk

    with _unpacked(path, what) as file:
        reader = ActivityFileReader(with_progress(chunks(file), progress))
        for bundle in reader.bundles():
            items, bundles = items + bundle.items, bundles + 1
    if "REQUEST_FAILED" in reader.prologue or not (reader.has_items_tag or items or "REQUEST_SUCCESSFUL" in reader.prologue):
        raise PermanentError(f"{what} is not a file of activities: it holds an error or no ActivityItems. Check MG_API_URL.")
    size = path.stat().st_size
    return ActivityFile(
        path,
        day,
        activity_type,
        size,
        length,
        reader.digest,
        items,
        bundles,
        reader.complete,
        reader.undecodable,
    )


@contextmanager
def _unpacked(path: Path, what: str) -> Iterator[IO[bytes]]:
    """Open the file's content as a stream, from a zip or plain. Damage met while reading is a ``TransientError``."""
    with path.open("rb") as file:
        if file.read(4) not in ZIP_BEGINS:
            file.seek(0)
            yield file
            return
    try:
        with zipfile.ZipFile(path) as archive:
            member = _only_member(archive, what)
            with archive.open(member) as content:
                yield content
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise TransientError(f"{what} came as a damaged zip: try again.") from error
    except NotImplementedError as error:
        raise PermanentError(f"{what} came as a zip of a kind that cannot be unpacked here.") from error


def _only_member(archive: zipfile.ZipFile, what: str) -> zipfile.ZipInfo:
    members = [member for member in archive.infolist() if not member.is_dir()]
    if len(members) != 1:
        raise PermanentError(f"{what} came as a zip of {len(members)} files, not of one.")
    (member,) = members
    if has_password(member):
        raise PermanentError(f"{what} came as a zip with a password.")
    if is_bomb(member):
        raise PermanentError(f"{what} unpacks to {member.file_size:,} bytes from {member.compress_size:,}, which no file of events does.")
    return member
