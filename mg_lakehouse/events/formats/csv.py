"""Reads the feed's CSV variant: turns rows into items of the feed's XML, so that the same readers serve both.

MessageGears documents that it is delimited by commas and that every activity has all headers, with or without data. So the header decides
everything, in any order, case and spelling (``activityId``, ``activity_id``, ``Activity Id``); what it does not state is not guessed. Programs of tables
delimit with semicolons or tabs: the header shows which. A header unknown to the catalogue becomes an element
of that name, for silver to keep. A row whose cells do not fit the header becomes a marked item, for silver to reject. A header in the middle holds
for the rows behind it, for files are joined.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain
from typing import Final
from xml.sax.saxutils import escape

from mg_lakehouse.events.catalogue import COMMON_COLUMNS, EVENTS, Event, event_of_element

__all__ = [
    "TORN_ROW",
    "CsvHeader",
    "CsvRefusedError",
    "bundle_of_csv",
    "csv_items",
    "csv_rows",
    "dialect_of",
    "is_csv",
    "is_headless_csv",
    "known_type",
    "misfit_of",
    "read_header",
]

TORN_ROW: Final = "CsvRowActivity"
"""Element of a row whose number of cells differs from the header's, or that names no activity."""

_COLUMNS: Final = "Columns"
"""Child of such a row: the number of the header's columns."""

_TYPE_HEADERS: Final = ("activitytype", "activity", "eventtype", "event", "itemtype", "type")
"""Possible names of the column that names the activity: it is not documented."""

_ERRORS: Final = ("ErrorCode", "ErrorMessage")

_NULLS: Final = frozenset({"null", "NULL", "Null", r"\N"})
_NAMES_SOMETHING: Final = ("Id", "Address")
"""Endings of elements that identify something. Databases write their null as text there; elsewhere it may be what a person wrote."""

_DELIMITERS: Final = ",;\t|"
"""Signs that may delimit, the documented one first."""

_NAMED: Final = re.compile(r"sep=(.)\s*", re.IGNORECASE)
"""A first line by which spreadsheets are told the delimiter."""

_AROUND: Final = "\ufeff\u00a0 \t\"'[`"
"""Signs that may stand around a name."""

_LONGEST_CELL: Final = 2**20
_HEAD: Final = 65_536
"""Characters in which a header ends."""
_FEW: Final = 2
_LONGEST_NAME: Final = 100
"""Characters of a column's name, which each row repeats: in 1 MiB a long one made gigabytes."""
_LARGEST_BUNDLE: Final = 64 * 2**20
"""Characters of the XML of a body, at most, as of a gzip."""
_UNCLOSED: Final = "unexpected end of data"


class CsvRefusedError(Exception):
    """It is CSV, and cannot be understood. The error's text is a sentence without its subject, such as ``names no Timestamp``."""


@dataclass(frozen=True, slots=True)
class CsvHeader:
    """The header's content: the ``elements`` that the columns fill, and the column (``kind``) that names the activity, if any."""

    elements: tuple[str, ...]
    kind: int | None

    @property
    def unknown(self) -> list[str]:
        """Elements that no event of the catalogue has."""
        return [name for place, name in enumerate(self.elements) if place != self.kind and _plain(name) not in _elements()]

    def require_usable(self) -> None:
        """Check that rows can be read by it.

        Raises:
            CsvRefusedError: it names no time or no id of an activity, or one element twice: what is meant cannot be told.
        """
        if any(len(name) > _LONGEST_NAME for name in self.elements):
            raise CsvRefusedError(f"names a column of more than {_LONGEST_NAME} characters: have it shortened")
        named = [name for place, name in enumerate(self.elements) if place != self.kind]
        if "Timestamp" not in named:
            raise CsvRefusedError("names no Timestamp: rename the column of the activities' times")
        if "ActivityId" not in named:
            raise CsvRefusedError("names no ActivityId: rename the column of the activities' ids, or add an empty one where there are none")
        if twice := next((name for place, name in enumerate(named) if name in named[:place]), None):
            raise CsvRefusedError(f"names {twice} in two columns: rename or remove the one that is not meant")


def read_header(cells: Sequence[str]) -> CsvHeader | None:
    """Return a file's header; ``None`` if the line is not a header of the feed: none of its cells is a column that every activity has, or one holds markup.

    Nothing comes of a header without rows, so no activity may be in it.
    """
    plain = [_plain(cell) for cell in cells]
    if not _common().intersection(plain) or any("<" in cell for cell in cells):
        return None
    elements = _elements()
    kind = next(
        (place for header in _TYPE_HEADERS for place, name in enumerate(plain) if name == header and name not in elements),
        None,
    )
    names = (cell.strip().lstrip("\ufeff") for cell in cells)
    return CsvHeader(tuple(elements.get(_plain(name)) or _element_name(name) for name in names), kind)


def dialect_of(line: str) -> str | None:
    """Return the delimiter of a text by its header line; ``None`` if the line is no header of the feed, whatever delimits it."""
    known = {sign: len(_elements().keys() & {_plain(cell) for cell in _cells(line, sign)}) for sign in _DELIMITERS}
    best = max(_DELIMITERS, key=lambda sign: known[sign])
    return best if read_header(_cells(line, best)) is not None else None


def is_csv(text: str) -> bool:
    """Whether a text begins with a header of the feed's CSV."""
    return next(_headed(io.StringIO(text[:_HEAD], newline="")))[0] is not None


def is_headless_csv(text: str) -> bool:
    """Whether a text looks like rows of the feed's CSV without a header: its first line has several cells, and one names an activity."""
    if is_csv(text):
        return False
    line = next(io.StringIO(text[:_HEAD].lstrip("\ufeff \t\r\n"), newline=""), "")
    rows = (_cells(line, sign) for sign in _DELIMITERS)
    return any(len(cells) > _FEW and any(known_type(cell.strip()) for cell in cells) for cells in rows)


def known_type(name: str) -> str | None:
    """Return the activity's element for any of the catalogue's names: ``Open``, ``OPENS``, ``OpenActivity``, ``opens``."""
    plain = _plain(name).removesuffix("activity")
    return _types().get(plain) or _types().get(plain.removesuffix("s"))


def csv_rows(lines: Iterable[str]) -> Iterator[list[str]]:
    """Yield the rows of a CSV, its header first; nothing if it does not begin with one. Blank lines before it are passed.

    If the text ends within quotes, the last row is yielded too: it is a row of what is there.

    Raises:
        EOFError: after that row.
        csv.Error: a cell is too long.
    """
    csv.field_size_limit(_LONGEST_CELL)
    delimiter, rest = next(_headed(iter(lines)))
    if delimiter is None:
        return
    taken: list[str] = []

    def taking() -> Iterator[str]:
        for line in rest:
            taken.append(line)
            yield line

    last: list[str] = []
    for row in csv.reader(taking(), delimiter=delimiter):
        last[:], taken[:] = taken, []
        yield row
    try:
        for _ in csv.reader(last, delimiter=delimiter, strict=True):
            pass
    except csv.Error as error:
        if _UNCLOSED in str(error):
            raise EOFError from error


def csv_items(header: CsvHeader, rows: Iterable[Sequence[str]], *, activity: str | None = None) -> Iterator[str]:
    """Yield an item for each row that is not empty, in order; ``activity`` is the element of rows that name none.

    A row that is a header itself holds for the rows behind it.
    """
    for cells in rows:
        if another := _header_within(cells):
            header = another
        elif any(cell.strip() for cell in cells):
            yield _item(header, cells, activity)


def bundle_of_csv(text: str) -> str:
    """Return the feed's XML for a CSV.

    Raises:
        CsvRefusedError: it cannot be understood.
    """
    rows = csv_rows(io.StringIO(text, newline=""))  # `splitlines` would cut at U+2028, which is text
    try:
        header = read_header(next(rows, []))
        if header is None:
            raise CsvRefusedError("names no column of an activity in its first line")
        header.require_usable()
        if header.kind is None:
            raise CsvRefusedError("names the activity in no column: have a column activityType sent")
        return f"<ActivityItems>{''.join(_bounded(csv_items(header, rows)))}</ActivityItems>"
    except (csv.Error, EOFError) as error:
        raise CsvRefusedError("ends within quotes, or has a cell of more than a million characters: have it sent again") from error


def _bounded(items: Iterable[str]) -> Iterator[str]:
    size = 0
    for item in items:
        size += len(item)
        if size > _LARGEST_BUNDLE:
            raise CsvRefusedError("becomes more than 64 MiB of XML: have its columns named shorter, or fewer rows sent at a time")
        yield item


def misfit_of(children: Sequence[tuple[str, str]]) -> str:
    """Return the sentence why a row did not fit its header, given the children (names and texts) of its :data:`TORN_ROW`."""
    cells = sum(name.startswith("Cell") for name, _ in children)
    columns = next((text for name, text in children if name == _COLUMNS), None)
    if columns is None:  # bronze of before 0.2
        return f"The row of {cells} cells does not fit its header, or names no activity."
    return "The row names no activity." if columns == str(cells) else f"The row has {cells} cells, and its header {columns} columns."


def _headed(lines: Iterator[str]) -> Iterator[tuple[str | None, Iterator[str]]]:
    """Yield, once, the delimiter of a text (``None`` if it is no CSV of the feed), and its lines from the header on."""
    for line in lines:
        if not line.strip("\ufeff \t\r\n"):
            continue
        if _NAMED.fullmatch(line.strip("\ufeff\r\n")):
            continue
        yield dialect_of(line), chain([line], lines)
        return
    yield None, lines


def _header_within(cells: Sequence[str]) -> CsvHeader | None:
    """Return the header that a row is, if it is one for certain: it names the time and the id of an activity, and can be read by."""
    # The first look is a tenth as dear, and nearly every row is one of data.
    if not any(cell.strip(_AROUND)[:4].lower() == "time" for cell in cells) or not {"timestamp", "activityid"} <= {
        _plain(cell) for cell in cells
    }:
        return None
    header = read_header(cells)
    try:
        if header is not None:
            header.require_usable()
    except CsvRefusedError:
        return None
    return header


def _cells(line: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:
        return []


def _item(header: CsvHeader, cells: Sequence[str], activity: str | None) -> str:
    named = "" if header.kind is None or header.kind >= len(cells) else cells[header.kind].strip()
    element = (known_type(named) or f"{_element_name(named).removesuffix('Activity')}Activity") if named else activity
    if element is None or len(cells) != len(header.elements):
        torn = "".join(_tag("Cell", escape(cell)) if cell else "<Cell/>" for cell in cells)
        return _tag(TORN_ROW, _tag(_COLUMNS, str(len(header.elements))) + torn)
    filled = [
        (name, cell)
        for place, (name, cell) in enumerate(zip(header.elements, cells, strict=True))
        if place != header.kind and _says(name, cell)
    ]
    return _tag(element, _children(event_of_element(element), filled))


def _says(name: str, cell: str) -> bool:
    """Whether a cell holds a value: a database's null as an id or an address is none."""
    return bool(cell.strip()) and not (cell.strip() in _NULLS and name.endswith(_NAMES_SOMETHING))


def _children(event: Event | None, filled: Sequence[tuple[str, str]]) -> str:
    """Make the children of an item; an error's code and message go where the event's errors are."""
    path = next((column.elements[0] for column in event.columns if column.type == "errors"), None) if event else None
    if path is None:
        return "".join(_tag(name, escape(cell)) for name, cell in filled)
    error = "".join(_tag(name, escape(cell)) for name, cell in filled if name in _ERRORS)
    for name in reversed(path.split("/")) if error else ():
        error = _tag(name, error)
    return "".join(_tag(name, escape(cell)) for name, cell in filled if name not in _ERRORS) + error


def _tag(name: str, content: str) -> str:
    return f"<{name}>{content}</{name}>"


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _element_name(name: str) -> str:
    """Turn any text into an element's name: a valid one stays, in PascalCase as in the feed; ``_`` replaces what a name may not hold."""
    text = re.sub(r"[^A-Za-z0-9_.-]", "_", name) or "_"
    return text[0].upper() + text[1:] if text[0].isalpha() else f"_{text}"


@cache
def _common() -> frozenset[str]:
    return frozenset(_plain(element) for column in COMMON_COLUMNS for element in column.elements)


@cache
def _elements() -> dict[str, str]:
    """Map the catalogue's child elements by their plain names."""
    columns = [*COMMON_COLUMNS, *(column for event in EVENTS for column in event.columns)]
    known = [element for column in columns for element in column.elements if "/" not in element]
    return {_plain(name): name for name in (*known, *_ERRORS)}


@cache
def _types() -> dict[str, str]:
    """Map all names of each event to its element, with and without the plural's s."""
    types: dict[str, str] = {}
    for event in EVENTS:
        names = [*event.elements, event.table, *([event.activity_type] if event.activity_type else [])]
        for name in names if event.elements else ():
            plain = _plain(name).removesuffix("activity")
            element = name if name in event.elements else event.elements[0]
            types.setdefault(plain, element)
            types.setdefault(f"{plain.removesuffix('ies')}y" if plain.endswith("ies") else plain.removesuffix("s"), element)
    return types
