"""The feed's CSV variant: rows to items of the same XML that the feed has, so that one reading serves both.

MessageGears documents of it that it is comma-delimited and that every header stands in each activity, with data or without. So everything goes by
the header, whatever its order and its case; what it does not say is not guessed. A header that the catalogue does not know becomes an element
of that name, for silver to keep; a row whose cells do not fit the header becomes an item that says so, for silver to reject.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final
from xml.sax.saxutils import escape

from mg_lakehouse.events.catalogue import COMMON_COLUMNS, EVENTS, Event, event_of_element

__all__ = ["TORN_ROW", "CsvHeader", "csv_items", "known_type", "read_header"]

TORN_ROW: Final = "CsvRowActivity"
"""Element of a row that has another number of cells than the header, or names no activity."""

_TYPE_HEADERS: Final = ("activitytype", "activity", "eventtype", "event", "itemtype", "type")
"""What a column that names the activity may be called: it is not documented."""

_ERRORS: Final = ("ErrorCode", "ErrorMessage")

_NULLS: Final = frozenset({"null", "NULL", "Null", r"\N"})
_NAMES_SOMETHING: Final = ("Id", "Address")
"""How elements end that name something. There databases write their null as a text; in others it may be what a person wrote."""


@dataclass(frozen=True, slots=True)
class CsvHeader:
    """What the header says: the ``elements`` that the columns fill, and which column (``kind``) names the activity, if one does."""

    elements: tuple[str, ...]
    kind: int | None


def read_header(cells: Sequence[str]) -> CsvHeader | None:
    """The header of a file, ``None`` where the line is no header of a feed: none of its cells is a column that every activity has."""
    names = [cell.strip().lstrip("\ufeff") for cell in cells]
    common = {element.lower() for column in COMMON_COLUMNS for element in column.elements}
    if not common.intersection(name.lower() for name in names):
        return None
    elements = _elements()
    kind = next(
        (place for wanted in _TYPE_HEADERS for place, name in enumerate(names) if _plain(name) == wanted and name.lower() not in elements),
        None,
    )
    return CsvHeader(tuple(elements.get(name.lower()) or _element_name(name) for name in names), kind)


def known_type(name: str) -> str | None:
    """Element of the activity that a name means, by any of the catalogue's names: ``Open``, ``OPENS``, ``OpenActivity``, ``opens``."""
    plain = _plain(name).removesuffix("activity")
    return _types().get(plain) or _types().get(plain.removesuffix("s"))


def csv_items(header: CsvHeader, rows: Iterable[Sequence[str]], *, activity: str | None = None) -> Iterator[str]:
    """Items, one for each row that is not empty, in order; ``activity`` is the element of those that name none themselves."""
    for cells in rows:
        if any(cell.strip() for cell in cells):
            yield _item(header, cells, activity)


def _item(header: CsvHeader, cells: Sequence[str], activity: str | None) -> str:
    named = "" if header.kind is None or header.kind >= len(cells) else cells[header.kind].strip()
    element = (known_type(named) or f"{_element_name(named).removesuffix('Activity')}Activity") if named else activity
    if element is None or len(cells) != len(header.elements):
        return _tag(TORN_ROW, "".join(_tag(f"Cell{place}", escape(cell)) for place, cell in enumerate(cells, start=1)))
    filled = [
        (name, cell)
        for place, (name, cell) in enumerate(zip(header.elements, cells, strict=True))
        if place != header.kind and _says(name, cell)
    ]
    return _tag(element, _children(event_of_element(element), filled))


def _says(name: str, cell: str) -> bool:
    """Whether a cell says anything: an id or an address that is a database's null does not."""
    return bool(cell.strip()) and not (cell.strip() in _NULLS and name.endswith(_NAMES_SOMETHING))


def _children(event: Event | None, filled: Sequence[tuple[str, str]]) -> str:
    """Children of an item; the code and message of an error go where the event's errors stand."""
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
    """A name of an element out of any text: as it is where it is one, PascalCase as the feed's are, ``_`` for what no name may hold."""
    text = re.sub(r"[^A-Za-z0-9_.-]", "_", name) or "_"
    return text[0].upper() + text[1:] if text[0].isalpha() else f"_{text}"


@cache
def _elements() -> dict[str, str]:
    """Children that the catalogue knows, by their names in lower case."""
    columns = [*COMMON_COLUMNS, *(column for event in EVENTS for column in event.columns)]
    known = [element for column in columns for element in column.elements if "/" not in element]
    return {name.lower(): name for name in (*known, *_ERRORS)}


@cache
def _types() -> dict[str, str]:
    """Element of each event, by all names that the event has, with and without the s of the plural."""
    found: dict[str, str] = {}
    for event in EVENTS:
        names = [*event.elements, event.table, *([event.activity_type] if event.activity_type else [])]
        for name in names if event.elements else ():
            plain = _plain(name).removesuffix("activity")
            element = name if name in event.elements else event.elements[0]
            found.setdefault(plain, element)
            found.setdefault(f"{plain.removesuffix('ies')}y" if plain.endswith("ies") else plain.removesuffix("s"), element)
    return found
