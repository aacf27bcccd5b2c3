"""What goes wrong in a feed: items and whole bodies that no reader can take, and why.

Each kind is a small change of good XML, as the document's own malformed samples (12 and 15) are.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from random import Random
from typing import Final

__all__ = ["BROKEN_BODIES", "BROKEN_ITEMS", "break_item", "broken_body"]

_CLOSING: Final = re.compile(r"</([^>]+)>")
_TIMESTAMP: Final = re.compile(r"<((?:\w+:)?Timestamp)>[^<]*</(?:\w+:)?Timestamp>")
_NO_TIMES: Final = ("yesterday", "2026-13-45T00:00:00Z", "2026-02-30T10:00:00.000-05:00", "03/04/2026 10:00")


def _wrong_child_tag(xml: str, _: Random) -> str:
    return _CLOSING.sub("</WrongId>", xml, count=1)


def _wrong_item_tag(xml: str, _: Random) -> str:
    """The item's own closing tag in another case, as in the document's sample 15."""
    begin = xml.rindex("</")
    prefix, colon, name = xml[begin + 2 : -1].rpartition(":")
    return f"{xml[:begin]}</{prefix}{colon}{name[0].lower()}{name[1:]}>"


def _undefined_entity(xml: str, _: Random) -> str:
    return _CLOSING.sub(r"&nbsp;</\1>", xml, count=1)


def _bare_ampersand(xml: str, _: Random) -> str:
    return _CLOSING.sub(r"?a=1&b=2</\1>", xml, count=1)


def _no_timestamp(xml: str, _: Random) -> str:
    return _TIMESTAMP.sub("", xml, count=1)


def _empty_timestamp(xml: str, _: Random) -> str:
    return _TIMESTAMP.sub(r"<\1> </\1>", xml, count=1)


def _invalid_timestamp(xml: str, rng: Random) -> str:
    return _TIMESTAMP.sub(rf"<\1>{rng.choice(_NO_TIMES)}</\1>", xml, count=1)


def _truncated(xml: str, _: Random) -> str:
    return xml[: len(xml) // 2]


BROKEN_ITEMS: Final[dict[str, tuple[str, Callable[[str, Random], str]]]] = {
    "wrong_child_tag": ("malformed_xml", _wrong_child_tag),
    "no_timestamp": ("missing_timestamp", _no_timestamp),
    "wrong_item_tag": ("malformed_xml", _wrong_item_tag),
    "invalid_timestamp": ("invalid_timestamp", _invalid_timestamp),
    "truncated": ("malformed_xml", _truncated),
    "undefined_entity": ("malformed_xml", _undefined_entity),
    "bare_ampersand": ("malformed_xml", _bare_ampersand),
    "empty_timestamp": ("missing_timestamp", _empty_timestamp),
}
"""Ways to break an item and the reason that each is rejected for. A truncated item ends its body."""


def break_item(xml: str, kind: str, rng: Random) -> str:
    """The XML of a good, plain item, broken in one of the ways of ``BROKEN_ITEMS``."""
    return BROKEN_ITEMS[kind][1](xml, rng)


_ITEM: Final = "<OpenActivity><ActivityId>never</ActivityId><Timestamp>2026-01-01T00:00:00Z</Timestamp>{}</OpenActivity>"

BROKEN_BODIES: Final[dict[str, tuple[str, str | None, str]]] = {
    "text": ("not_xml", None, "The feed is down for maintenance."),
    "json": ("not_xml", None, '{"Type": "Notification", "Message": "no XML at all"}'),
    "other_root": ("not_activity_items", "Notification", "<Notification><Message>hello</Message></Notification>"),
    "doctype": (
        "malformed_xml",
        None,
        '<!DOCTYPE ActivityItems [<!ENTITY who "me">]>\n<ActivityItems>'
        + _ITEM.format("<UserAgent>&who;</UserAgent>")
        + "</ActivityItems>",
    ),
    "cut_envelope": ("malformed_xml", None, '<?xml version="1.0"?><ActivityItems xmlns="http://messagegears.com/3.1/webSer'),
}
"""Bodies of which no item can be read, and the reason and element of the one rejection of each: the root, where it can be read."""


def broken_body(kind: str) -> tuple[str, str | None, str]:
    """Reason, element and body of a kind of ``BROKEN_BODIES``."""
    return BROKEN_BODIES[kind]
