"""Finds the items of a bundle in its text, without an XML parser.

It has two uses: the exact text of an item that is kept as received, and cutting a body that no parser accepts
into items that can be parsed alone. Both take one pass, linear in the body whatever it holds: a tag is
searched only between two ``<``, and a comment that never closes only once.

Well-formedness belongs to :mod:`mg_lakehouse.events.strict.reader`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Final, NamedTuple

__all__ = ["ENVELOPES", "ITEM_SUFFIX", "TAG", "Slice", "cut", "has_doctype", "is_item", "item_slices", "local_name"]

ENVELOPES: Final = frozenset({"ActivityItems", "AccountActivityResponse"})
ITEM_SUFFIX: Final = "Activity"
_BLANKS: Final = " \t\r\n\ufeff"

# XML allows `>` but not `<` inside an attribute value, so a match never runs past the next tag.
TAG: Final = re.compile(r"""<(/?)([^\s<>/"'=!?]+)((?:[^<>"']|"[^"<]*"|'[^'<]*')*)>""")
_PROLOG_TOKEN: Final = re.compile(r"[\s\ufeff]+")


class Slice(NamedTuple):
    """A piece of a body: ``body[start:end]``. ``element`` is its local name, ``None`` if it has none."""

    start: int
    end: int
    element: str | None
    is_item: bool = True


class _Tag(NamedTuple):
    """A tag, or, without a name, a comment or processing instruction."""

    start: int
    end: int
    name: str
    closes: bool
    empty: bool


@lru_cache(maxsize=4096)
def local_name(name: str) -> str:
    """Return a name without its prefix or its ``{namespace}``."""
    return name.rpartition("}")[2].rpartition(":")[2]


def has_doctype(body: str) -> bool:
    """Whether the body declares a document type, which can only stand before the root element."""
    position = 0
    while True:
        if blank := _PROLOG_TOKEN.match(body, position):
            position = blank.end()
        if body.startswith("<!DOCTYPE", position):
            return True
        if body.startswith("<?", position):
            closing, length = "?>", 2
        elif body.startswith("<!--", position):
            closing, length = "-->", 3
        else:
            return False
        end = body.find(closing, position)
        if end < 0:
            return False
        position = end + length


def _tokens(body: str) -> Iterator[_Tag]:
    """Yield tags, comments and processing instructions in order; CDATA sections are skipped."""
    unclosed: set[str] = set()
    position = 0
    while (start := body.find("<", position)) >= 0:
        for opening, closing in (("<!--", "-->"), ("<![CDATA[", "]]>"), ("<?", "?>")):
            if not body.startswith(opening, start):
                continue
            end = -1 if closing in unclosed else body.find(closing, start + len(opening))
            if end < 0:
                unclosed.add(closing)
                position = start + len(opening)
            else:
                position = end + len(closing)
                if opening != "<![CDATA[":
                    yield _Tag(start, position, "", closes=False, empty=True)
            break
        else:
            match = TAG.match(body, start)
            if match is None:
                position = start + 1
                continue
            position = match.end()
            yield _Tag(start, position, match[2], closes=bool(match[1]), empty=match[3].endswith("/"))


def is_item(name: str, parent: str) -> bool:
    """Whether an element of this local name is an item of its parent, an element of the envelope: a response also has a head of its own."""
    return parent == "ActivityItems" or name.endswith(ITEM_SUFFIX)


def item_slices(body: str) -> list[Slice]:
    """Return slices of a well-formed bundle's items, in order, followed by those of text outside them (``is_item`` false)."""
    slices = list(_within_envelope(body))
    return [piece for piece in slices if piece.is_item] + [piece for piece in slices if not piece.is_item]


def _within_envelope(body: str) -> Iterator[Slice]:
    """Yield the content of a well-formed bundle's envelope: its items, and text."""
    envelope: list[str] = []
    behind = 0
    tags = _tokens(body)
    for tag in tags:
        if envelope and body[behind : tag.start].strip(_BLANKS):
            yield Slice(behind, tag.start, None, is_item=False)
        name = local_name(tag.name)
        behind = tag.end
        if tag.closes:
            del envelope[-1:]
        elif name in ENVELOPES:
            envelope += [] if tag.empty else [name]
        elif name:
            behind = tag.end if tag.empty else _end_of_element(tags, len(body))
            if envelope and is_item(name, envelope[-1]):
                yield Slice(tag.start, behind, name)


def _end_of_element(tags: Iterator[_Tag], otherwise: int) -> int:
    """Return the end of the element whose start tag was the last one taken, and take its tags; ``otherwise`` if it never ends."""
    depth = 1
    for tag in tags:
        depth += 0 if not tag.name or tag.empty else -1 if tag.closes else 1
        if depth == 0:
            return tag.end
    return otherwise


def cut(body: str) -> tuple[str, str, list[Slice]]:
    """Cut a body that does not parse into its ``*Activity`` items.

    A piece starts at an ``*Activity`` start tag and ends after the first end tag of the same name, or,
    without one, before the next such start tag. Text between pieces that is more than envelope and white
    space becomes a slice of its own (``is_item`` false), so that nothing of the body is lost.

    Returns:
        The envelope's start tags and end tags, to wrap a piece in (they bind the namespace prefixes), and the
        slices. There are none if the body has no ``*Activity`` start tag.
    """
    tags = list(_tokens(body))
    starts = [index for index, tag in enumerate(tags) if not tag.closes and local_name(tag.name).endswith(ITEM_SUFFIX)]
    if not starts:
        return "", "", []
    envelope = [tag for tag in tags[: starts[0]] if not tag.closes and not tag.empty and local_name(tag.name) in ENVELOPES]
    before = "".join(body[tag.start : tag.end] for tag in envelope)
    after = "".join(f"</{tag.name}>" for tag in reversed(envelope))
    slices = list(_residue(body, 0, tags[starts[0]].start, tags[: starts[0]]))
    for position, first in enumerate(starts):
        following = starts[position + 1] if position + 1 < len(starts) else len(tags)
        limit = tags[following].start if following < len(tags) else len(body)
        opening = tags[first]
        closing = first if opening.empty else _closing(tags, first, following)
        if closing is None:
            closing = _before_envelope_end(tags, first, following)
            limit_here = tags[closing + 1].start if closing + 1 < following else limit
            end = opening.start + len(body[opening.start : limit_here].rstrip())
        else:
            end = tags[closing].end
        slices.append(Slice(opening.start, end, local_name(opening.name)))
        slices.extend(_residue(body, end, limit, tags[closing + 1 : following]))
    return before, after, slices


def _closing(tags: list[_Tag], first: int, following: int) -> int | None:
    name = tags[first].name
    return next((index for index in range(first + 1, following) if tags[index].closes and tags[index].name == name), None)


def _before_envelope_end(tags: list[_Tag], first: int, following: int) -> int:
    """Return the index of the last tag before the envelope ends, for a piece without its own end tag."""
    ends = (index for index in range(first + 1, following) if tags[index].closes and local_name(tags[index].name) in ENVELOPES)
    return next(ends, following) - 1


def _residue(body: str, start: int, end: int, tags: list[_Tag]) -> Iterator[Slice]:
    """Yield the text between two pieces, without white space, the envelope's tags, comments and the XML declaration."""
    kept = []
    position = start
    for tag in tags:
        if not tag.name or local_name(tag.name) in ENVELOPES:
            kept.append(body[position : tag.start])
            position = tag.end
    kept.append(body[position:end])
    if any(text.strip(_BLANKS) for text in kept):
        named = next((local_name(tag.name) for tag in tags if tag.name and not tag.closes and local_name(tag.name) not in ENVELOPES), None)
        yield Slice(start, end, named, is_item=False)
