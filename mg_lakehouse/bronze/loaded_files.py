"""Writes ``bronze/loaded_files``: any file of the feed that a user has, each of its bundles once.

A file is XML (one or more bundles, or responses of the AccountActivity API) or the feed's CSV, plain, in a gzip or in a zip. It is read once, as a
stream, and committed in batches like the queue's messages; small files share a batch. A bundle's id is the digest of its text. So a file that is
loaded again, under any name, or whose load was killed, adds only what is missing.
"""

from __future__ import annotations

import csv
import io
import os
import re
import shutil
import tempfile
import uuid
import zipfile
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Final, Literal, NamedTuple, TypeVar, cast

import polars as pl

from mg_lakehouse.bronze.append import append_batch, bundle_rows, in_batches
from mg_lakehouse.bronze.read_progress import require_whole
from mg_lakehouse.bronze.tables import LOADED_FILES, LOADED_SCHEMA
from mg_lakehouse.errors import LakehouseError
from mg_lakehouse.events.formats.archives import ZIP_BEGINS, has_password, is_bomb
from mg_lakehouse.events.formats.csv import csv_items, read_header
from mg_lakehouse.events.formats.unpacking import Gunzipping
from mg_lakehouse.events.formats.xml_file import ActivityFileReader, FileBundle, Piece, in_bundles
from mg_lakehouse.lake.failpoints import Failpoint, reached
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.settings import Settings

__all__ = ["Loaded", "load_files"]

T = TypeVar("T")

_CHUNK: Final = 2**20
_LOOK: Final = 64 * 2**10
"""Bytes at a file's start that decide its kind."""

_LONGEST_CELL: Final = 2**20

_GZIP: Final = b"\x1f\x8b"
_EMPTY_BUNDLE: Final = re.compile(r"<[^<>]*>\s*</[^<>]*>")


@dataclass(slots=True)
class Loaded:
    """The result of loading a file, or a member of a zip.

    ``new`` bundles were committed, ``already`` bundles were in bronze; ``items`` counts those of all bundles. ``notes`` are phrases on
    what is odd about the file. ``failure`` is the sentence why it was not read, or not to its end.
    """

    name: str
    kind: Literal["xml", "csv", ""] = ""
    items: int = 0
    new: int = 0
    already: int = 0
    notes: list[str] = field(default_factory=list)
    failure: str | None = None

    @property
    def bundles(self) -> int:
        """Number of bundles in the file."""
        return self.new + self.already


def load_files(
    lake: Lake,
    settings: Settings,
    files: Iterable[Path | IO[bytes]],
    *,
    activity: str | None = None,
    progress: Callable[[int], None] | None = None,
) -> Iterator[Loaded]:
    """Load files, and each member of a zip, in order; a file that fails does not stop the others.

    A commit is filled across files. A file's result is yielded when all of it is committed.

    Args:
        lake: the destination.
        settings: the size of a commit.
        files: the files, or streams of them.
        activity: the XML element for the rows of a CSV file that names no activity.
        progress: called after each commit with the number of items so far.

    Raises:
        PermanentError, TransientError: the lake cannot be written; what is committed stays.
        PermanentError, TransientError: the lake cannot be written; what was committed stays.
    """
    require_whole(lake, LOADED_FILES.name)
    begun: deque[Loaded] = deque()
    items = 0
    for batch in in_batches(_parts(files, activity, begun), settings):
        _commit_bundles(lake, batch)
        items += sum(part.items for part in batch)
        if progress is not None:
            progress(items)
        while len(begun) > 1:  # the last file may have more bundles
            yield begun.popleft()
    yield from begun


class _UnreadableError(LakehouseError):
    """The file, not the lake, cannot be read."""


class _Part(NamedTuple):
    """A bundle of a file, with its place in it."""

    file: Loaded
    place: int
    body: str
    items: int


def _parts(files: Iterable[Path | IO[bytes]], activity: str | None, begun: deque[Loaded]) -> Iterator[_Part]:
    """Yield the bundles of files; adds each file to ``begun`` before its first bundle."""
    for path in files:
        name = _name(path)
        try:
            with _opened(path) as file:
                for member, content in _contents(file, name):
                    loaded = Loaded(member)
                    begun.append(loaded)
                    for place, bundle in enumerate(_until_damage(_bundles(content, loaded, activity), loaded)):
                        yield _Part(loaded, place, *bundle)
        except _UnreadableError as error:
            begun.append(Loaded(name, failure=str(error)))
        except OSError as error:
            begun.append(Loaded(name, failure=_no_reading(name, error)))


@contextmanager
def _opened(path: Path | IO[bytes]) -> Iterator[io.BufferedReader]:
    if not isinstance(path, Path):
        yield _buffered(path)
        return
    try:
        file = path.open("rb", buffering=0)
        file.read(0)
    except OSError as error:
        raise _UnreadableError(_no_reading(_name(path), error)) from error
    with file:
        yield _buffered(file)


def _name(path: Path | IO[bytes]) -> str:
    """Return a file's name. Bytes of an old encoding that are not UTF-8 are escaped, for no column takes them."""
    return os.fsencode(path.name).decode("utf-8", "backslashreplace") if isinstance(path, Path) else "standard input"


def _no_reading(name: str, error: OSError) -> str:
    return f"{name} cannot be read: {(error.strerror or type(error).__name__).lower()}."


def _buffered(stream: object) -> io.BufferedReader:
    return io.BufferedReader(cast("io.RawIOBase", stream), _LOOK)


def _contents(file: io.BufferedReader, name: str) -> Iterator[tuple[str, io.BufferedReader]]:
    """Yield the file, or the members of a zip, each with its name."""
    begin = file.peek(4)[:4]
    if begin.startswith(_GZIP):
        yield name, _buffered(Gunzipping(file))
    elif begin in ZIP_BEGINS:
        yield from _members(file, name)
    else:
        yield name, file


def _members(file: io.BufferedReader, name: str) -> Iterator[tuple[str, io.BufferedReader]]:
    with tempfile.TemporaryFile() as copy:
        whole: IO[bytes] = file
        if not file.seekable():  # a pipe; a zip's directory is at its end
            shutil.copyfileobj(file, copy, _CHUNK)
            whole = copy
        try:
            with zipfile.ZipFile(whole) as archive:
                for member in archive.infolist():
                    if not member.is_dir() and not member.filename.startswith("__MACOSX/"):
                        _require_sound(member, name)
                        with archive.open(member) as content:
                            yield f"{name}/{member.filename}", _buffered(content)
        except (zipfile.BadZipFile, UnicodeDecodeError) as error:  # the second: a member's name claims to be UTF-8 and is not
            raise _UnreadableError(f"{name} is a damaged zip, or cut off: load it again when it is whole.") from error
        except NotImplementedError as error:
            raise _UnreadableError(f"{name} is a zip of a kind that cannot be unpacked here: unpack it, and load its files.") from error


def _require_sound(member: zipfile.ZipInfo, name: str) -> None:
    if has_password(member):
        raise _UnreadableError(f"{name} is a zip with a password: unpack it, and load its files.")
    if is_bomb(member):
        raise _UnreadableError(f"{name} unpacks to {member.file_size:,} bytes from {member.compress_size:,}, which no file of events does.")


def _until_damage(parts: Iterable[T], loaded: Loaded) -> Iterator[T]:
    """Yield parts of a file as far as it can be read. Records the reason where it ends early: the parts before it are worth having."""
    try:
        yield from parts
    except (EOFError, zlib.error, zipfile.BadZipFile):
        loaded.failure = _broken(loaded.name)
    except OSError as error:
        loaded.failure = f"{_no_reading(loaded.name, error)} What comes before it was loaded: load it again."
    except csv.Error as error:
        loaded.failure = (
            f"{loaded.name} is not valid CSV in a line ({error}). What comes before it was loaded: correct the line, and load it again."
        )
    except _UnreadableError as error:
        loaded.failure = str(error)


def _commit_bundles(lake: Lake, batch: Sequence[_Part]) -> None:
    """Commit bundles, and count them in their files' results. If a text is in the batch twice, the first is new."""
    batch_id = uuid.uuid4().hex
    rows = _rows(batch, batch_id)
    receipt = append_batch(lake, rows.unique("message_id", keep="first", maintain_order=True), batch_id, table=LOADED_FILES)
    reached(Failpoint.FILE_PART_COMMITTED)
    unclaimed = set(receipt.added)
    for part, message_id in zip(batch, rows["message_id"], strict=True):
        is_new = message_id in unclaimed
        unclaimed.discard(message_id)
        part.file.new, part.file.already = part.file.new + is_new, part.file.already + (not is_new)
        part.file.items += part.items


def _bundles(content: io.BufferedReader, loaded: Loaded, activity: str | None) -> Iterator[FileBundle]:
    begin = content.peek(_LOOK)[:_LOOK]
    is_xml = begin.startswith((b"\xff\xfe", b"\xfe\xff")) or begin.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<")
    yield from _of_xml(content, loaded) if is_xml else _of_csv(content, loaded, activity)


def _of_xml(content: io.BufferedReader, loaded: Loaded) -> Iterator[FileBundle]:
    # What was unpacked before the damage is whole: reading goes on up to it.
    reader = ActivityFileReader(_until_damage(iter(lambda: content.read1(_CHUNK), b""), loaded))
    loaded.kind = "xml"
    has_bundles = False
    items = 0
    for bundle in reader.bundles():
        if bundle.items or not _EMPTY_BUNDLE.fullmatch(bundle.body):
            has_bundles = True
            items += bundle.items
            yield bundle
    if "REQUEST_FAILED" in reader.prologue:
        raise _UnreadableError(f"{loaded.name} holds an error of MessageGears instead of activities: fetch it again.")
    if loaded.failure is None and not (has_bundles or reader.has_items_tag or "REQUEST_SUCCESSFUL" in reader.prologue):
        raise _UnreadableError(f"{loaded.name} is not a file of the feed: it has no ActivityItems.")
    if loaded.failure == _broken(loaded.name) or (loaded.failure is None and not reader.complete):
        loaded.failure = _broken(loaded.name, f" in line {reader.lines + 1:,}, behind {items:,} items")
    if reader.undecodable:
        loaded.notes.append("has bytes that are not text")


def _broken(name: str, where: str = "") -> str:
    return f"{name} is damaged or cut off{where}. What comes before it was loaded: load the file again when it is whole."


def _of_csv(content: io.BufferedReader, loaded: Loaded, activity: str | None) -> Iterator[FileBundle]:
    csv.field_size_limit(_LONGEST_CELL)
    rows = _csv_rows(io.TextIOWrapper(content, "utf-8-sig", errors="replace", newline=""), loaded)
    header = read_header(next(rows, []))
    if header is None:
        raise _UnreadableError(
            f"{loaded.name} is not a file of the feed: it is not XML, and its first line names no column of an activity."
        )
    loaded.kind = "csv"
    if header.kind is None and activity is None:
        raise _UnreadableError(f"No column of {loaded.name} names the activity: give the activity of its rows with --type.")
    items = csv_items(header, _until_damage(rows, loaded), activity=activity)
    for text, count in in_bundles(Piece(item, is_item=True) for item in items):
        yield FileBundle(f"<ActivityItems>{text}</ActivityItems>", count)


def _csv_rows(lines: Iterable[str], loaded: Loaded) -> Iterator[list[str]]:
    """Yield rows of a CSV. If it ends within quotes, the last row is yielded too: it is a row of what is there.

    Raises:
        _UnreadableError: after that row.
    """
    taken: list[str] = []

    def taking() -> Iterator[str]:
        for line in lines:
            taken.append(line)
            yield line

    last: list[str] = []
    for row in csv.reader(taking()):
        last[:], taken[:] = taken, []
        yield row
    try:
        deque(csv.reader(last, strict=True), maxlen=0)
    except csv.Error as error:
        if "unexpected end of data" in str(error):
            raise _UnreadableError(_broken(loaded.name)) from error


def _rows(batch: Sequence[_Part], batch_id: str) -> pl.DataFrame:
    """Make bronze rows, as :data:`LOADED_SCHEMA` has them, one per bundle."""
    rows = bundle_rows(batch, parts=[part.place for part in batch], received_at=datetime.now(UTC), batch_id=batch_id)
    names = pl.Series([part.file.name for part in batch])
    named = rows.with_columns(pl.format("bundle:{}", "body_sha256").alias("message_id"), file_name=names)
    return named.select(LOADED_SCHEMA.names()).cast(LOADED_SCHEMA)
