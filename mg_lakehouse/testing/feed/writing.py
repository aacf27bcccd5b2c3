"""From an event to its XML and, at the same time, to the row that it must become.

Most items are plain. Some are odd in ways that a reader must take: children in another order, unknown or repeated
ones, CDATA, comments, white space, numbers that are none. An oddity changes the text and the row together.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from random import Random
from typing import Final, cast
from zoneinfo import ZoneInfo

from mg_lakehouse.testing.feed.behaviour import Happening
from mg_lakehouse.testing.feed.truth import Cell, ErrorEntries
from mg_lakehouse.testing.feed.wire import COLUMNS, EMAIL_ELEMENTS, UNRECOGNIZED, Version, Wire, wire_of

__all__ = ["ODDITIES", "Item", "Style", "escape", "write_item"]

_LOCAL: Final = ZoneInfo("America/New_York")
_ABROAD: Final = ZoneInfo("Asia/Kolkata")
_UTC: Final = ZoneInfo("UTC")

# What each version of the feed does not write.
_ABSENT: Final[dict[Version, frozenset[str]]] = {
    "none": frozenset(("account_id", "campaign_id", "campaign_version")),
    "3.0": frozenset(
        ("account_id", "campaign_id", "campaign_version", "activity_id", "category_code", "is_microsite", "job_category", "url_id")
    ),
    "3.1": frozenset(("account_id", "campaign_id", "campaign_version")),
    "3.2": frozenset(),
}
# The Engage events and the requests have the account in every version.
_WITH_ACCOUNT: Final = frozenset(("ContextHitActivity", "ContextMissActivity", "RequestActivity"))
_WITH_IP_SELECTOR: Final = frozenset(("BouncedMessageActivity", "DeliveredMessageActivity", "SpamComplaintActivity"))


@dataclass(frozen=True, slots=True)
class Style:
    """How a bundle is written: the feed's version, a prefix of its namespace, and the white space between elements."""

    version: Version
    prefix: str
    gap: str


@dataclass(slots=True)
class _Child:
    """A child element to be: its name, its text, and that text as written, perhaps with markup."""

    name: str
    column: str | None
    text: str
    written: str
    before: str = ""  # a comment in front of it


@dataclass(slots=True)
class Item:
    """A written item: its element, its XML, its table and its row."""

    element: str
    xml: str
    table: str
    row: dict[str, Cell]


def escape(text: str) -> str:
    """Text as the content of an element."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def write_item(happening: Happening, style: Style, rng: Random, *, activity_id: str, oddity: str | None = None) -> Item:
    """Write one event in a bundle's style; ``oddity`` names one of ``ODDITIES``, which is left out where the item has no place for it."""
    wire = wire_of(happening.element)
    values = happening.values
    version: Version = "3.1" if style.version == "3.0" and not _may_lack_id(happening) else style.version
    table = "context_misses" if values.get("is_inferred") else wire.table
    row: dict[str, Cell] = dict.fromkeys(COLUMNS[table])
    draft = _Draft(row, [], [], style.prefix, rng)
    _fill(draft, happening, wire, version, activity_id)
    if table == UNRECOGNIZED:
        for name, value in values.items():
            if name[0].isupper() and value is not None:  # columns are lower case, the unknown children are not
                draft.add_unknown(name, _text(value))
    elif version == "3.0" and happening.element in _WITH_IP_SELECTOR:
        draft.add_unknown("IpSelector", "pool-a")
    if table == "context_misses":
        row["is_inferred"] = bool(values.get("is_inferred"))
    if oddity is not None:
        ODDITIES[oddity](draft)
    row["_rescued_data"] = _rescued_json(draft.rescued)
    xml = _join(happening.element, draft.children, style)
    if table == UNRECOGNIZED:
        row |= {"element": happening.element, "item_xml": xml}
    return Item(happening.element, xml, table, row)


def _may_lack_id(happening: Happening) -> bool:
    """Whether a 3.0 feed, which has no activity ids, may hold the event: only if something else says what message it is of."""
    values = happening.values
    known = values.get("recipient_id") or values.get("email_address") or happening.element == "JobErrorActivity"
    return happening.element in EMAIL_ELEMENTS and bool(known) and values.get("request_id") is not None


def _fill(draft: _Draft, happening: Happening, wire: Wire, version: Version, activity_id: str) -> None:
    """Add the children that columns take, and their values to the row."""
    absent = _ABSENT[version] - {"account_id"} if happening.element in _WITH_ACCOUNT else _ABSENT[version]
    for name, column in wire.children:
        if column == "event_at":
            draft.children.append(_timestamp(happening, draft.row, draft.rng))
            continue
        value = activity_id if column == "activity_id" else happening.values.get(column)
        if value is None or column in absent:
            continue
        draft.row[column] = value
        if column == "errors":
            draft.children.extend(_error_children(name, cast("ErrorEntries", value), draft.prefix))
        else:
            text = _text(value)
            draft.children.append(_Child(name, column, text, escape(text)))


def _timestamp(happening: Happening, row: dict[str, Cell], rng: Random) -> _Child:
    """The Timestamp element; Engage's have no fraction and no offset but ``Z``."""
    at = happening.at
    row["event_at"] = at
    row["event_date"] = at.date()
    luck = rng.random()
    if happening.element.startswith("Context") or luck < 0.2:
        row["utc_offset_minutes"] = 0
        text = _iso(at, rng) + "Z"
    elif luck < 0.27:
        row["utc_offset_minutes"] = None
        text = _iso(at, rng)
    else:
        local = at.astimezone(_ABROAD if luck < 0.3 else _LOCAL)
        offset = local.utcoffset()
        assert offset is not None
        minutes = round(offset.total_seconds() / 60)
        row["utc_offset_minutes"] = minutes
        sign, whole = ("-", -minutes) if minutes < 0 else ("+", minutes)
        text = f"{_iso(local, rng)}{sign}{whole // 60:02d}:{whole % 60:02d}"
    return _Child("Timestamp", "event_at", text, text)


def _iso(at: datetime, rng: Random) -> str:
    """Date and time without the offset: milliseconds, or whole seconds for some of those that are whole."""
    if at.microsecond == 0 and rng.random() < 0.3:
        return at.replace(tzinfo=None).isoformat(timespec="seconds")
    return at.replace(tzinfo=None).isoformat(timespec="milliseconds")


def _text(value: Cell) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return value.astimezone(_UTC).replace(tzinfo=None).isoformat(timespec="seconds") + "Z"
    return str(value)


def _error_children(name: str, entries: ErrorEntries, prefix: str) -> list[_Child]:
    """The errors: ``JobError`` repeats, render errors stand in one container."""
    inner = [
        "".join(
            f"<{prefix}{tag}>{escape(text)}</{prefix}{tag}>"
            for tag, text in (("ErrorCode", entry["error_code"]), ("ErrorMessage", entry["error_message"]))
            if text is not None
        )
        for entry in entries
    ]
    if name == "JobError":
        return [_Child(name, "errors", "", text) for text in inner]
    return [_Child(name, "errors", "", "".join(f"<{prefix}RenderError>{text}</{prefix}RenderError>" for text in inner))]


def _rescued_json(pairs: list[tuple[str, str]]) -> str | None:
    """JSON object of the children that no column takes; repeated names make a list."""
    found: dict[str, list[str]] = {}
    for name, text in pairs:
        found.setdefault(name, []).append(text)
    return json.dumps({name: texts if len(texts) > 1 else texts[0] for name, texts in found.items()}, ensure_ascii=False) if found else None


def _join(element: str, children: list[_Child], style: Style) -> str:
    prefix, gap = style.prefix, style.gap
    parts = [
        f"{child.before}<{prefix}{child.name}/>"
        if child.written == _EMPTY_TAG
        else f"{child.before}<{prefix}{child.name}>{child.written}</{prefix}{child.name}>"
        for child in children
    ]
    return f"<{prefix}{element}>{gap}{gap.join(parts)}{gap}</{prefix}{element}>"


_EMPTY_TAG: Final = "\0"
"""Stands for the content of an element that is written as an empty tag."""


@dataclass(slots=True)
class _Draft:
    """An item that is about to be written, for an oddity to change."""

    row: dict[str, Cell]
    children: list[_Child]
    rescued: list[tuple[str, str]]
    prefix: str
    rng: Random

    def add_unknown(self, name: str, text: str) -> None:
        """Add a child that no column takes."""
        self.children.append(_Child(name, None, text, escape(text)))
        self.rescued.append((name, text))

    def child(self, *columns: str) -> _Child | None:
        """A child that fills one of the columns, of several any."""
        found = [child for child in self.children if child.column in columns]
        return self.rng.choice(found) if found else None


# Whose text may be dressed up: of plain text, and with something to dress up.
_TEXTS: Final = (
    "user_agent",
    "url",
    "details",
    "correlation_id",
    "category",
    "inbound_message",
    "content",
    "subject",
    "record_id",
    "job_category",
)
# What may be empty without making another event of it.
_OPTIONAL: Final = (
    "user_agent",
    "url_name",
    "ip_address",
    "job_category",
    "correlation_id",
    "details",
    "isp",
    "message_size",
    "service",
    "vendor",
)
_NUMBERS: Final = ("message_size", "category_code", "record_size", "is_microsite")


def _shuffled(draft: _Draft) -> None:
    # Several errors keep their order, which is that of the list.
    if sum(child.column == "errors" for child in draft.children) <= 1:
        draft.rng.shuffle(draft.children)


def _unknown_child(draft: _Draft) -> None:
    name, text = draft.rng.choice((("SubaccountId", "17"), ("Étiquette", "é & <è>"), ("FutureField", '{"a": 1}')))
    draft.add_unknown(name, text)


def _unknown_twice(draft: _Draft) -> None:
    for text in ("one", "two"):
        draft.add_unknown("Tag", text)


def _unknown_nested(draft: _Draft) -> None:
    """Children of an unknown child: kept as inner XML. Written without a prefix's help, so that any bundle may hold them."""
    if draft.prefix:
        return
    inner = "<Country>US</Country><City>Saint &amp; Louis</City>"
    draft.children.append(_Child("Geo", None, "", inner))
    draft.rescued.append(("Geo", inner))


def _repeated(draft: _Draft) -> None:
    """A child that comes twice or three times: the first counts, whatever the others say."""
    child = draft.child(*_TEXTS, "email_address", "event_at", "ip_address", "message_size")
    if child is None:
        return
    for text in ("again", "2001")[: draft.rng.choice((1, 2))]:
        draft.add_unknown(child.name, text)


def _rival(draft: _Draft) -> None:
    """The names of both vocabularies for one column: the first listed wins, wherever it stands."""
    if "inbound_message" in draft.row and draft.child("sms_address", "inbound_message"):
        names = {child.name for child in draft.children}
        for winner, loser in (("SmsAddress", "SendingSmsNumber"), ("InboundMessage", "SmsBody")):
            if winner in names:
                draft.children.insert(0, _Child(loser, None, "another", "another"))
                draft.rescued.append((loser, "another"))


def _cdata(draft: _Draft) -> None:
    if (child := draft.child(*_TEXTS)) is not None:
        child.written = f"<![CDATA[{child.text}]]>"


def _mixed_cdata(draft: _Draft) -> None:
    child = draft.child(*_TEXTS)
    if child is not None and len(child.text) > 4:
        child.written = f"{escape(child.text[:3])}<![CDATA[{child.text[3:]}]]>"


def _comment_in_text(draft: _Draft) -> None:
    child = draft.child(*_TEXTS)
    if child is not None and len(child.text) > 4:
        child.written = f"{escape(child.text[:3])}<!-- a note -->{escape(child.text[3:])}"


def _comment_between(draft: _Draft) -> None:
    draft.rng.choice(draft.children).before = "<!-- <Timestamp>of no account</Timestamp> -->"


def _character_references(draft: _Draft) -> None:
    for child in draft.children:
        if child.text and not child.text.isascii():
            child.written = escape(child.text).encode("ascii", "xmlcharrefreplace").decode("ascii")
            return
    plain = draft.child(*_TEXTS)
    if plain is not None:
        plain.written = f"&#x{ord(plain.text[0]):X};{escape(plain.text[1:])}"


def _spaces(draft: _Draft) -> None:
    child = draft.child(*_TEXTS, "email_address", "event_at", "activity_id", "message_size", "category_code", "is_microsite", "sms_address")
    if child is not None:
        child.written = f"\n\t  {escape(child.text)}  \n"


def _empty(draft: _Draft) -> None:
    if (child := draft.child(*_OPTIONAL)) is not None and child.column is not None:
        child.written = draft.rng.choice((_EMPTY_TAG, "", "  \n "))
        draft.row[child.column] = None


def _missing(draft: _Draft) -> None:
    if (child := draft.child(*_OPTIONAL)) is not None and child.column is not None:
        draft.children.remove(child)
        draft.row[child.column] = None


def _no_number(draft: _Draft) -> None:
    """A number or boolean that is none: the column is null and the text is kept."""
    child = draft.child(*_NUMBERS)
    if child is None or child.column is None:
        return
    text = "maybe" if child.column == "is_microsite" else draft.rng.choice(("n/a", "12,5", "ten", "99999999999999999999"))
    child.written = text
    draft.row[child.column] = None
    draft.rescued.append((child.name, text))


ODDITIES: Final[dict[str, Callable[[_Draft], None]]] = {
    "shuffled": _shuffled,
    "unknown_child": _unknown_child,
    "unknown_twice": _unknown_twice,
    "unknown_nested": _unknown_nested,
    "repeated": _repeated,
    "rival": _rival,
    "cdata": _cdata,
    "mixed_cdata": _mixed_cdata,
    "comment_in_text": _comment_in_text,
    "comment_between": _comment_between,
    "character_references": _character_references,
    "spaces": _spaces,
    "empty": _empty,
    "missing": _missing,
    "no_number": _no_number,
}
"""What may be odd about an item that is valid all the same."""
