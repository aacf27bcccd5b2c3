"""Plain items by patterns: what makes the strict reader as fast as a loop over lxml's tree where there is no compiled scanner.

A body is plain if its tags are those of one bundle of items, of which each has children with text only; and there is no attribute but the
namespace, no comment, no section and no reference but XML's own five. Any other body belongs to :mod:`mg_lakehouse.events.strict.reader`.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

__all__ = ["PlainItem", "decoded", "plain_items"]

_BLANK: Final = r"[ \t\r\n]*"
_SIGNS: Final = r"[^<>&\r\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]*"
_TEXT: Final = f"{_SIGNS}(?:&(?:amp|lt|gt|quot|apos);{_SIGNS})*"
_HEAD: Final = re.compile(rf'{_BLANK}<ActivityItems(?: xmlns="http://messagegears\.com/[A-Za-z0-9./]*")?>{_BLANK}')
_ITEM: Final = re.compile(rf"<([A-Za-z]+Activity)>{_BLANK}((?:<([A-Za-z]+)>{_TEXT}</\3>{_BLANK})+)</\1>{_BLANK}")
_END: Final = re.compile(rf"</ActivityItems>{_BLANK}")
_ENTITIES: Final = (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&apos;", "'"), ("&amp;", "&"))
_LONGEST: Final = 8 * 2**20  # libxml2 refuses a text of more than 10 million bytes


class PlainItem(NamedTuple):
    """An item: its name, and its children as in ``RequestId>r1``."""

    element: str
    children: list[str]


def plain_items(body: str) -> list[PlainItem] | None:
    """Return the items of a body, in order; ``None`` if it is not plain."""
    head = _HEAD.match(body)
    if head is None or len(body) > _LONGEST // 4:
        return None
    items = []
    at = head.end()
    while (item := _ITEM.match(body, at)) is not None:
        items.append(PlainItem(item[1], item[2].split("<")[1::2]))
        at = item.end()
    return items if _END.fullmatch(body, at) else None


def decoded(text: str) -> str:
    """Return the text of a child as it is meant."""
    for entity, sign in _ENTITIES:
        text = text.replace(entity, sign)
    return text
