"""Counts the items that begin in a body. The count shares nothing with the readers, so that it can check them.

An item begins with a start tag whose name ends in ``Activity``, outside of comments, CDATA sections, processing instructions and attribute values,
directly within tags of the envelope: anything inside an item is its content. A body of nothing but items, one after the other in
one envelope, is counted from end tag to end tag, which is five times as fast; any other tag by tag. If its tags do not balance there is no nesting,
and every such tag begins an item, as it does for the reader that cuts such a body. A reader may see more (text that belongs to no item, items of
other names); it must not see less.

Compiled (``_item_count.pyx``) if there is a compiler, like the fast path; a property test holds both forms to the same counts.
"""

from __future__ import annotations

import re
from typing import Final

import polars as pl
import pyarrow as pa

try:
    from mg_lakehouse.events import _item_count as machine
except ImportError:  # pragma: no cover  (installed without a compiler)
    machine = None  # type: ignore[assignment]

__all__ = ["count_starts", "starts_of"]

_DEEPEST: Final = 4096
_OPENINGS: Final = ((b"<!--", b"-->"), (b"<![CDATA[", b"]]>"), (b"<?", b"?>"))
_BEHIND_OPENING: Final = (b"!", b"?")
# Atomic, not possessive: before 3.11.5 Python ends a possessive group in the middle of what it could not match, here at a quote without its end.
_TAG: Final = re.compile(rb"""<(/?)([^ \t\r\n\x0b\x0c<>/"'=!?]+)((?>(?:[^<>"']++|"[^"<]*+"|'[^'<]*+')*))>""")
_ITEM: Final = re.compile(rb"[A-Za-z0-9_.:-]*Activity")
_ENVELOPE: Final = re.compile(rb"(?:.*:)?(?:ActivityItems|AccountActivityResponse)", re.DOTALL)

_BLANK: Final = rb"[ \t\r\n]*"
_HEAD: Final = re.compile(
    rb"(?>(?:\xef\xbb\xbf)?" + _BLANK + rb"(?:<\?xml.*?\?>" + _BLANK + rb")?)"
    rb"""<((?:[A-Za-z0-9_.:-]*:)?ActivityItems)(?:[ \t\r\n](?>(?:[^<>"']++|"[^"<]*+"|'[^'<]*+')*))?(?<!/)>""",
    re.DOTALL,
)
_NEXT: Final = re.compile(_BLANK + rb"<([A-Za-z0-9_.:-]*Activity)>")


def starts_of(bodies: pa.LargeStringArray) -> pl.Series:
    """Count the items that begin in each body (``large_string``, without nulls); Int64."""
    _, offsets, data = bodies.buffers()
    if machine is None or offsets is None or data is None:
        return pl.Series([count_starts(body) for body in bodies.cast(pa.large_binary()).to_pylist() if body is not None], dtype=pl.Int64)
    counts = machine.count(memoryview(data).cast("B"), memoryview(offsets).cast("B").cast("q")[: len(bodies) + 1])
    return pl.Series(pa.Array.from_buffers(pa.uint32(), len(bodies), [None, pa.py_buffer(counts)])).cast(pl.Int64)


def count_starts(body: bytes) -> int:
    """Count the items that begin in a body (UTF-8)."""
    in_order = _count_in_order(body)
    return _count_by_tags(body) if in_order is None else in_order


def _count_in_order(body: bytes) -> int | None:
    """Count the items of a body that has only items in its envelope, one after the other, each up to its end tag; ``None`` for any other body."""
    head = _HEAD.match(body)
    # One byte is found many times as fast as two, and texts seldom have an exclamation mark.
    if head is None or (b"!" in body and body.find(b"<!", head.end()) >= 0) or (b"?" in body and body.find(b"<?", head.end()) >= 0):
        return None
    count, at = 0, head.end()
    while (start := _NEXT.match(body, at)) is not None:
        end_tag = b"</%s>" % start[1]
        end = body.find(end_tag, start.end())
        if end < 0:
            return None
        count, at = count + 1, end + len(end_tag)
    return count if body[at:].strip(b" \t\r\n") == b"</%s>" % head[1] else None


def _count_by_tags(body: bytes) -> int:
    flat = deep = 0
    stack: list[bytes] = []
    envelopes = 0
    balanced = True
    unclosed: set[bytes] = set()
    at = 0
    while (start := body.find(b"<", at)) >= 0:
        opened = None
        if body[start + 1 : start + 2] in _BEHIND_OPENING:
            opened = next((pair for pair in _OPENINGS if body.startswith(pair[0], start)), None)
        if opened is not None:
            opening, closing = opened
            at = start + len(opening)
            end = -1 if closing in unclosed else body.find(closing, at)
            if end < 0:
                unclosed.add(closing)
                balanced = False
            else:
                at = end + len(closing)
            continue
        tag = _TAG.match(body, start)
        if tag is None:
            balanced = False
            at = start + 1
            continue
        at = tag.end()
        name = tag[2]
        if tag[1]:
            balanced = balanced and bool(stack) and stack[-1] == name
            if balanced:
                stack.pop()
                envelopes = min(envelopes, len(stack))
            continue
        begins = _ITEM.fullmatch(name) is not None
        flat += begins
        deep += balanced and begins and 0 < len(stack) == envelopes
        if not balanced or tag[3].endswith(b"/"):
            continue
        if len(stack) == _DEEPEST:
            balanced = False
            continue
        envelopes += len(stack) == envelopes and _ENVELOPE.fullmatch(name) is not None
        stack.append(name)
    return deep if balanced and not stack else flat
