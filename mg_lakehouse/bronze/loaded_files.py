"""Writes ``bronze/loaded_files``: any file of the feed that a user has, each of its bundles once.

A file is XML (one or more bundles, or responses of the AccountActivity API), the feed's CSV, or JSON that holds bodies of messages; plain, in a gzip or
in a zip, one in the other. It is read twice, as a stream: first to see that it unpacks and that its bytes are text, so that a file is refused as a whole; then it
is committed in batches like the queue's messages. Small files share a batch. A bundle's id is the digest of its text. So a file that is
loaded again, under any name, or whose load was killed, adds only what is missing.
"""

from __future__ import annotations

import codecs
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
from functools import partial
from pathlib import Path
from typing import IO, Final, Literal, NamedTuple, TypeVar, cast

import polars as pl

from mg_lakehouse.bronze.append import append_batch, bundle_rows, in_batches
from mg_lakehouse.bronze.read_progress import require_whole
from mg_lakehouse.bronze.tables import LOADED_FILES, LOADED_SCHEMA
from mg_lakehouse.errors import LakehouseError
from mg_lakehouse.events.formats.archives import ZIP_BEGINS, has_password, is_bomb, kind_of_other
from mg_lakehouse.events.formats.csv import TORN_ROW, CsvHeader, CsvRefusedError, csv_items, csv_rows, is_csv, is_headless_csv, read_header
from mg_lakehouse.events.formats.encodings import AS_WINDOWS_1252, encoding_of, undecodable_line
from mg_lakehouse.events.formats.envelopes import unwrap
from mg_lakehouse.events.formats.json_file import DamagedJsonError, bodies_of_json
from mg_lakehouse.events.formats.unpacking import Gunzipping, TooFarError, most_unpacked
from mg_lakehouse.events.formats.xml_file import ActivityFileReader, FileBundle, Piece, in_bundles
from mg_lakehouse.events.item_count import count_starts
from mg_lakehouse.lake.failpoints import Failpoint, reached
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.settings import Settings

__all__ = ["Loaded", "load_files"]

T = TypeVar("T")

_CHUNK: Final = 2**20
_LOOK: Final = 64 * 2**10
"""Bytes at a file's start that decide its kind."""

_MOST_HELD: Final = 2**24
"""Characters of a JSON file's bodies that hold no events, kept until the first one that does."""

_MOST_LAYERS: Final = 4
"""Archives in archives that are opened."""

_JSON_BEGINS: Final = re.compile(r"""[{\[]\s*["{}\[\]]""")
_GZIP: Final = b"\x1f\x8b"
_EMPTY_BUNDLE: Final = re.compile(r"<[^<>]*>\s*</[^<>]*>")


@dataclass(slots=True)
class Loaded:
    """The result of loading a file, or a member of a zip.

    ``new`` bundles were committed, ``already`` bundles were in bronze; ``items`` counts those of all bundles. ``notes`` are phrases on
    what is odd about the file. ``failure`` is the sentence why it was not read, or not to its end.
    """

    name: str
    kind: Literal["xml", "csv", "json", ""] = ""
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
    encoding: str | None = None,
    progress: Callable[[int], None] | None = None,
) -> Iterator[Loaded]:
    """Load files, and each member of a zip, in order; a file that fails does not stop the others.

    A commit is filled across files. A file's result is yielded when all of it is committed.

    Args:
        lake: the destination.
        settings: the size of a commit.
        files: the files, or streams of them.
        activity: the XML element for the rows of a CSV file that names no activity.
        encoding: Python's name of the files' encoding, by default what each says, else UTF-8. A file that is of another is refused; but if
            UTF-8 is given, bytes that are none are read as windows-1252.
        progress: called after each commit with the number of items so far.

    Raises:
        PermanentError, TransientError: the lake cannot be written; what is committed stays.
    """
    require_whole(lake, LOADED_FILES.name)
    begun: deque[Loaded] = deque()
    items = 0
    for batch in in_batches(_parts(files, _Options(activity, encoding), begun), settings):
        _commit_bundles(lake, batch)
        items += sum(part.items for part in batch)
        if progress is not None:
            progress(items)
        while len(begun) > 1:  # the last file may have more bundles
            yield begun.popleft()
    yield from begun


class _UnreadableError(LakehouseError):
    """The file, not the lake, cannot be read."""


class _Options(NamedTuple):
    """What the user says of the files."""

    activity: str | None
    encoding: str | None


class _Part(NamedTuple):
    """A bundle of a file, with its place in it."""

    file: Loaded
    place: int
    body: str
    items: int


class _Content(NamedTuple):
    """A file, or a member of an archive: its name, and a function that opens it at its start. ``failure`` is the sentence why it is not read."""

    name: str
    opened: Callable[[], io.BufferedReader]
    failure: str | None = None


def _parts(files: Iterable[Path | IO[bytes]], options: _Options, begun: deque[Loaded]) -> Iterator[_Part]:
    """Yield the bundles of files; adds each file to ``begun`` before its first bundle."""
    for path in files:
        name = _name(path)
        try:
            with _opened(path) as (file, failure):
                for content in _contents(_Content(name, partial(_at_start, file)), _size(file)):
                    loaded = Loaded(content.name, failure=content.failure)
                    begun.append(loaded)
                    if content.failure is not None:
                        continue
                    for place, bundle in enumerate(_until_damage(_bundles(content, loaded, options), loaded)):
                        yield _Part(loaded, place, *bundle)
                    if failure is not None and loaded.failure is None:
                        loaded.failure = f"{_no_reading(name, failure)} What comes before it was loaded: load it again."
        except _UnreadableError as error:
            begun.append(Loaded(name, failure=str(error)))
        except OSError as error:
            begun.append(Loaded(name, failure=_no_reading(name, error)))


@contextmanager
def _opened(path: Path | IO[bytes]) -> Iterator[tuple[io.BufferedReader, OSError | None]]:
    """Open a file that can be read again. A pipe is copied; the error that ends it comes along."""
    if not isinstance(path, Path):
        if path.seekable():
            yield _buffered(path), None
            return
        with tempfile.TemporaryFile() as copy:
            yield cast("io.BufferedReader", copy), _copied(path, copy)
        return
    try:
        file = path.open("rb", buffering=0)
        file.read(0)
    except OSError as error:
        raise _UnreadableError(_no_reading(_name(path), error)) from error
    with file:
        if file.seekable():
            yield _buffered(file), None
            return
        with tempfile.TemporaryFile() as copy:
            yield cast("io.BufferedReader", copy), _copied(file, copy)


def _copied(stream: IO[bytes] | io.RawIOBase, copy: IO[bytes]) -> OSError | None:
    """Copy a stream. Returns the error that ended it, unless it came before anything.

    Raises:
        OSError: nothing could be read.
    """
    try:
        while chunk := stream.read(_LOOK):
            copy.write(chunk)
    except OSError as error:
        if not copy.tell():
            raise
        return error
    return None


def _name(path: Path | IO[bytes]) -> str:
    """Return a file's name. Bytes of an old encoding that are not UTF-8 are escaped, for no column takes them."""
    return os.fsencode(path.name).decode("utf-8", "backslashreplace") if isinstance(path, Path) else "standard input"


def _no_reading(name: str, error: OSError) -> str:
    return f"{name} cannot be read: {(error.strerror or type(error).__name__).lower()}."


def _buffered(stream: object) -> io.BufferedReader:
    return io.BufferedReader(cast("io.RawIOBase", stream), _LOOK)


def _at_start(file: io.BufferedReader) -> io.BufferedReader:
    file.seek(0)
    return file


def _size(file: io.BufferedReader) -> int:
    return file.seek(0, os.SEEK_END)


def _begin(content: _Content) -> bytes:
    """Return the first bytes; fewer where an archive is damaged there."""
    try:
        return content.opened().peek(_LOOK)[:_LOOK]
    except (EOFError, zlib.error, zipfile.BadZipFile, TooFarError):
        return b""


def _contents(content: _Content, size: int, layers: int = 0) -> Iterator[_Content]:
    """Yield the file, or what is in a gzip or a zip, one in the other; ``size`` is that of the file on disk.

    Raises:
        _UnreadableError: an archive cannot be opened, or is of another kind.
    """
    begin = _begin(content)
    if layers == _MOST_LAYERS:
        raise _UnreadableError(f"{content.name} holds more than {_MOST_LAYERS} archives, one in the other: unpack it, and load its files.")
    if begin.startswith(_GZIP):
        unpacked = _Content(content.name, lambda: _buffered(Gunzipping(content.opened(), at_most=most_unpacked(size))))
        yield from _contents(unpacked, size, layers + 1)
    elif begin[:4] in ZIP_BEGINS:
        yield from _members(content, size, layers)
    elif other := kind_of_other(begin):
        raise _UnreadableError(f"{content.name} is {other}.")
    else:
        yield content


def _members(content: _Content, size: int, layers: int) -> Iterator[_Content]:
    name = content.name
    with tempfile.TemporaryFile() as copy:
        whole: IO[bytes] = content.opened()
        try:
            if layers:  # a zip's directory is at its end, and no stream can go there
                shutil.copyfileobj(whole, copy, _CHUNK)
                whole = copy
            with zipfile.ZipFile(whole) as archive:
                members = [each for each in archive.infolist() if not each.is_dir() and not each.filename.startswith("__MACOSX/")]
                _require_events(members, name, size)
                for member in members:
                    _require_sound(member, name)
                    yield from _member(_Content(f"{name}/{member.filename}", partial(_open_member, archive, member)), size, layers + 1)
        except (
            zipfile.BadZipFile,
            UnicodeDecodeError,
            EOFError,
            zlib.error,
        ) as error:  # the second: a member's name is no UTF-8 though it says so
            raise _UnreadableError(f"{name} is a damaged zip, or cut off: load it again when it is whole.") from error
        except TooFarError as error:
            raise _UnreadableError(_too_far(name)) from error
        except NotImplementedError as error:
            raise _UnreadableError(f"{name} is a zip of a kind that cannot be unpacked here: unpack it, and load its files.") from error


def _open_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> io.BufferedReader:
    return _buffered(archive.open(member))


def _member(content: _Content, size: int, layers: int) -> Iterator[_Content]:
    """Yield a member of a zip, or what is in it. One that cannot be read keeps no other away."""
    try:
        yield from _contents(content, size, layers)
    except _UnreadableError as error:
        yield content._replace(failure=str(error))


def _require_events(members: Sequence[zipfile.ZipInfo], name: str, size: int) -> None:
    """Refuse a zip as a whole: a spreadsheet or document, and one whose members together unpack to far more than events do."""
    if any(member.filename == "[Content_Types].xml" for member in members):
        raise _UnreadableError(f"{name} is a spreadsheet or document: save its rows as CSV in UTF-8, and load that.")
    if len(members) > 1 and sum(member.file_size for member in members) > most_unpacked(size):
        raise _UnreadableError(_too_far(name))


def _too_far(name: str) -> str:
    return f"{name} unpacks to far more than a file of events does, which is refused."


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
    except TooFarError:
        loaded.failure = _too_far(loaded.name)
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


def _bundles(content: _Content, loaded: Loaded, options: _Options) -> Iterator[FileBundle]:
    """Yield the bundles of a file of any kind, after a look at all of its bytes.

    Raises:
        _UnreadableError: it is no file of the feed, or cannot be understood. If nothing was yielded, it was refused as a whole.
    """
    encoding = options.encoding or encoding_of(_begin(content))
    line = undecodable_line(_chunks_until_damage(content), encoding)
    if line is not None:
        if options.encoding != "utf-8-sig":
            raise _UnreadableError(_not_in(encoding, loaded.name, line, is_given=options.encoding is not None))
        loaded.notes.append(f"has bytes in line {line:,} that are not UTF-8: they were read as windows-1252")
    head = codecs.getincrementaldecoder(encoding)(AS_WINDOWS_1252).decode(_begin(content))
    head = head.lstrip("\ufeff \t\r\n")
    if head.startswith("<"):
        yield from _of_xml(content.opened(), loaded, encoding)
    elif _JSON_BEGINS.match(head) or (head.startswith('"') and not is_csv(head)):
        yield from _of_json(content.opened(), loaded, encoding)
    elif is_headless_csv(head):
        raise _UnreadableError(
            f"{loaded.name} is CSV without a header line: write one in front of it, such as activityType,activityId,timestamp,emailAddress."
        )
    else:
        yield from _of_csv(content.opened(), loaded, options.activity, encoding)


def _chunks_until_damage(content: _Content) -> Iterator[bytes]:
    """Yield the bytes of a file up to where an archive is damaged: the reading behind this one tells of it.

    Raises:
        _UnreadableError: it unpacks to far more than events do.
    """
    file = content.opened()
    try:
        while chunk := file.read1(_CHUNK):
            yield chunk
    except TooFarError as error:
        raise _UnreadableError(_too_far(content.name)) from error
    except (EOFError, zlib.error, zipfile.BadZipFile):
        return


def _not_in(encoding: str, name: str, line: int, *, is_given: bool) -> str:
    what = f"{name} has bytes in line {line:,} that are not {encoding.upper().removesuffix('-SIG')}"
    if is_given:
        return f"{what}: give the file's own encoding with --encoding."
    return (
        f"{what}: give its encoding with --encoding, such as windows-1252 for a file that a spreadsheet saved in Western Europe or America."
    )


def _of_xml(content: io.BufferedReader, loaded: Loaded, encoding: str) -> Iterator[FileBundle]:
    # What was unpacked before the damage is whole: reading goes on up to it.
    reader = ActivityFileReader(_until_damage(iter(lambda: content.read1(_CHUNK), b""), loaded), encoding=encoding)
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


def _broken(name: str, where: str = "") -> str:
    return f"{name} is damaged or cut off{where}. What comes before it was loaded: load the file again when it is whole."


def _of_csv(content: io.BufferedReader, loaded: Loaded, activity: str | None, encoding: str) -> Iterator[FileBundle]:
    rows = _csv_rows(io.TextIOWrapper(content, encoding, errors=AS_WINDOWS_1252, newline=""), loaded)
    header = read_header(next(rows, []))
    if header is None:
        raise _UnreadableError(
            f"{loaded.name} is not a file of the feed: it is not XML, and its first line names no column of an activity."
        )
    loaded.kind = "csv"
    _require_usable(header, loaded, activity)
    torn = 0
    items = csv_items(header, _until_damage(rows, loaded), activity=activity)
    for text, count in in_bundles(Piece(item, is_item=True) for item in items):
        torn += text.count(f"<{TORN_ROW}>")
        yield FileBundle(f"<ActivityItems>{text}</ActivityItems>", count)
    if torn:
        loaded.notes.append(f"has {torn:,} rows that do not fit the header or name no activity: they are in rejected_items")


def _require_usable(header: CsvHeader, loaded: Loaded, activity: str | None) -> None:
    try:
        header.require_usable()
    except CsvRefusedError as error:
        raise _UnreadableError(f"{loaded.name} {error}.") from error
    if header.kind is None and activity is None:
        raise _UnreadableError(f"No column of {loaded.name} names the activity: give the activity of its rows with --type.")
    if header.unknown:
        names = ", ".join(header.unknown)
        loaded.notes.append(f"has columns that no event of the feed has, whose cells are in _rescued_data: {names}")


def _csv_rows(lines: Iterable[str], loaded: Loaded) -> Iterator[list[str]]:
    """Yield rows of a CSV. If it ends within quotes, the last row is yielded too.

    Raises:
        _UnreadableError: after that row.
    """
    try:
        yield from csv_rows(lines)
    except EOFError as error:
        raise _UnreadableError(_broken(loaded.name)) from error


def _of_json(content: io.BufferedReader, loaded: Loaded, encoding: str) -> Iterator[FileBundle]:
    """Yield the bodies of a JSON file. Those without events are held until one has some: then they are odd messages of a feed, for silver to reject."""
    loaded.kind = "json"
    held: list[FileBundle] | None = []
    refusal = "It holds none."
    text = io.TextIOWrapper(content, encoding, errors=AS_WINDOWS_1252, newline="")
    chunks = _until_damage(iter(lambda: text.read(_CHUNK), ""), loaded)
    try:
        for body in bodies_of_json(chunks):
            opened = unwrap(body)
            bundle = FileBundle(body, 1 if opened.refusal else count_starts(opened.text.encode()))
            if held is None:
                yield bundle
            elif opened.refusal is None:
                yield from (*held, bundle)
                held = None
            elif sum(len(each.body) for each in held) < _MOST_HELD:
                refusal = opened.refusal
                held.append(bundle)
    except DamagedJsonError as error:
        loaded.failure = loaded.failure or _broken(loaded.name)
        if held is not None:
            raise _UnreadableError(f"{loaded.name} is JSON that is damaged, broke off or has a value of more than 64 MiB.") from error
    if held is not None and loaded.failure is None:
        raise _UnreadableError(f"No message of {loaded.name} holds events of the feed. {refusal}")


def _rows(batch: Sequence[_Part], batch_id: str) -> pl.DataFrame:
    """Make bronze rows, as :data:`LOADED_SCHEMA` has them, one per bundle."""
    rows = bundle_rows(batch, parts=[part.place for part in batch], received_at=datetime.now(UTC), batch_id=batch_id)
    names = pl.Series([part.file.name for part in batch])
    named = rows.with_columns(pl.format("bundle:{}", "body_sha256").alias("message_id"), file_name=names)
    return named.select(LOADED_SCHEMA.names()).cast(LOADED_SCHEMA)
