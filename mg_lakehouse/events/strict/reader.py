"""The strict reader: reads the items of a message's body completely.

A body that parses as a whole is walked: every element of the envelope, wherever and however often it occurs. Any other body is cut into its items, and each
is parsed alone, so that one bad item never costs its siblings. An item that is bad only for characters that XML may not hold, such as a control
character in a text message, is read without them: a STOP is a STOP. Document types and entities other than XML's own
five are refused, and nothing is ever fetched. Names are local names, whatever the namespace.

The meaning of an item belongs to :mod:`mg_lakehouse.events.strict.extract`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from functools import cached_property, lru_cache
from typing import Final, NamedTuple

from lxml import etree

from mg_lakehouse.events.rejects import Reason
from mg_lakehouse.events.strict.scanner import ENVELOPES, cut, has_doctype, is_item, item_slices, local_name

__all__ = ["WHITE_SPACE", "Body", "Envelope", "Item", "Rejection", "inner_xml", "name_of", "read_items", "read_piece", "stray", "text_of"]

WHITE_SPACE: Final = " \t\r\n"
"""XML's white space, which is removed around a text. Unicode's other blanks are content."""


class Item(NamedTuple):
    """A readable item: its position in the bundle and its element."""

    position: int
    element: str
    node: etree._Element


class Rejection(NamedTuple):
    """What cannot be read, and why. ``position`` and ``element`` are ``None`` for a whole message."""

    position: int | None
    element: str | None
    reason: Reason
    detail: str
    fragment: str


# Without `huge_tree` libxml2 itself limits depth (256), text (10 MB) and entity amplification. One parser serves
# all threads; making one for each body cost 40 % of the time of a small bundle.
_PARSER: Final = etree.XMLParser(
    encoding="utf-8", resolve_entities=False, no_network=True, load_dtd=False, remove_comments=True, remove_pis=True, huge_tree=False
)

# XML 1.0, production 2: what is no character. A reference to one is no better than itself.
_ILLEGAL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_CONTROLS: Final = bytes(sign for sign in range(32) if sign not in b"\t\n\r")
_REFERENCE: Final = re.compile(r"&#(?:x0*([0-9a-fA-F]{1,6})|0*([0-9]{1,7}));")

_STRAY: Final = "Text between items that belongs to none of them."


class _Bundle:
    """The content of a well-formed body's envelope: ``items`` in order, each with its name, and whether there is text outside them.

    ``is_one`` states whether an ``ActivityItems`` was met, empty or not.
    """

    def __init__(self) -> None:
        self.items: list[tuple[str, etree._Element]] = []
        self.has_text = False
        self.is_one = False

    def visit(self, node: etree._Element) -> None:
        """Visit a root, or an element of the envelope. Libxml2 limits the depth."""
        name = name_of(node)
        if name not in ENVELOPES:
            return
        self.is_one |= name == "ActivityItems"
        self.has_text |= _has_content(node.text)
        for child in node:
            child_name = name_of(child)
            if child_name in ENVELOPES:
                self.visit(child)
            elif is_item(child_name, name):
                self.items.append((child_name, child))
            if (tail := child.tail) is not None:
                self.has_text |= _has_content(tail)


def _has_content(text: str | None) -> bool:
    return bool(text and text.strip("\ufeff" + WHITE_SPACE))


class Body:
    """The body of one message."""

    def __init__(self, text: str) -> None:
        self.text = text

    def read(self) -> Iterator[Item | Rejection]:
        """Yield the items in order, and rejections of what is not a readable item. An empty bundle yields nothing."""
        if has_doctype(self.text):
            yield Rejection(None, None, Reason.MALFORMED_XML, "The body declares a document type, which is refused.", self.text)
            return
        try:
            root = _parse(self.text)
        except etree.XMLSyntaxError as error:
            self._parses = False
            yield from self._read_pieces(error)
            return
        self._parses = True
        bundle = _Bundle()
        bundle.visit(root)
        if not (bundle.is_one or bundle.items):
            root_name = name_of(root)
            yield Rejection(None, root_name, Reason.NOT_ACTIVITY_ITEMS, f"The root element is {root_name}, not ActivityItems.", self.text)
            return
        for index, (name, node) in enumerate(bundle.items):
            yield Item(index, name, node)
        if bundle.has_text:
            # After the items, so that their positions do not change.
            for index in range(len(bundle.items), len(self._fragments)):
                yield Rejection(index, None, Reason.MALFORMED_XML, _STRAY, self.fragment(index))

    def fragment(self, index: int) -> str:
        """Return the text of an item as received, by its position."""
        return self._fragments[index]

    @cached_property
    def _parses(self) -> bool:
        """Whether the body is well-formed, if it was not read yet: otherwise its items have other positions."""
        try:
            _parse(self.text)
        except etree.XMLSyntaxError:
            return False
        return True

    @cached_property
    def _fragments(self) -> dict[int, str]:
        pieces = item_slices(self.text) if self._parses else cut(self.text)[2]
        return {index: self.text[piece.start : piece.end] for index, piece in enumerate(pieces)}

    def _read_pieces(self, error: etree.XMLSyntaxError) -> Iterator[Item | Rejection]:
        before, after, pieces = cut(self.text)
        self._fragments = {index: self.text[piece.start : piece.end] for index, piece in enumerate(pieces)}
        if not any(piece.is_item for piece in pieces):
            yield Rejection(None, None, Reason.MALFORMED_XML, f"The body is not well-formed: {_message(error)}", self.text)
            return
        envelope = Envelope(before or "<ActivityItems>", after or "</ActivityItems>", 1)
        for index, piece in enumerate(pieces):
            fragment = self.fragment(index)
            yield read_piece(envelope, index, piece.element, fragment) if piece.is_item else stray(index, piece.element, fragment)


class Envelope(NamedTuple):
    """The start tags and the end tags around items that are parsed without the rest of their body, and how many there are."""

    before: str
    after: str
    depth: int

    @staticmethod
    @lru_cache(maxsize=16)
    def of(tags: tuple[bytes, ...]) -> Envelope:
        """Return the envelope of some start tags; without any, that of a bundle."""
        if not tags:
            return Envelope("<ActivityItems>", "</ActivityItems>", 1)
        names = [re.split(rb"[\s>]", tag[1:], maxsplit=1)[0].decode() for tag in tags]
        return Envelope(b"".join(tags).decode(), "".join(f"</{name}>" for name in reversed(names)), len(tags))


def read_piece(envelope: Envelope, position: int, element: str | None, fragment: str) -> Item | Rejection:
    """Parse an item that was cut out of a body."""
    try:
        node = _only_item(_parse_legal(envelope.before, fragment, envelope.after))
    except etree.XMLSyntaxError as error:
        return Rejection(position, element, Reason.MALFORMED_XML, f"The item is not well-formed: {_message(error)}", fragment)
    return Item(position, name_of(node), node)


def stray(position: int, element: str | None, fragment: str) -> Rejection:
    """Reject text between items that belongs to none of them. A byte order mark before it is no text: an envelope comes without it."""
    return Rejection(position, element, Reason.MALFORMED_XML, _STRAY, fragment.removeprefix("\ufeff"))


def read_items(envelope: Envelope, texts: Sequence[bytes], positions: Sequence[int]) -> list[Item] | None:
    """Parse items of one envelope in one go; ``None`` if they are not well-formed, each of them one element."""
    try:
        node = etree.fromstring(b"".join((envelope.before.encode(), *texts, envelope.after.encode())), _PARSER)
    except etree.XMLSyntaxError:
        return None
    for _ in range(envelope.depth - 1):
        node = node[0]
    if len(node) != len(texts):
        return None
    return [Item(position, name_of(item), item) for position, item in zip(positions, node, strict=True)]


def name_of(node: etree._Element) -> str:
    """Return the local name of an element."""
    return local_name(node.tag)  # type: ignore[arg-type]  # a name always: comments and instructions were removed


def text_of(node: etree._Element) -> str:
    """Return the text of an element without children, without white space around it; ``""`` if it has none."""
    return (node.text or "").strip(WHITE_SPACE)


def inner_xml(node: etree._Element) -> str:
    """Return the XML inside an element, by local names and without attributes, so that the namespace makes no difference."""
    parts = [_escape(node.text or "")]
    for child in node:
        name = name_of(child)
        parts.append(f"<{name}>{inner_xml(child)}</{name}>{_escape(child.tail or '')}")
    return "".join(parts).strip(WHITE_SPACE)


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _parse(text: str) -> etree._Element:
    # A lone surrogate cannot be UTF-8; passed through, libxml2 refuses it like any other bad byte.
    root: etree._Element = etree.fromstring(text.lstrip("\ufeff" + WHITE_SPACE).encode("utf-8", "surrogatepass"), _PARSER)
    return root


def _parse_legal(before: str, item: str, after: str) -> etree._Element:
    """Parse an item within its envelope, without what is no character of XML if it does not parse as it is."""
    try:
        return _parse(f"{before}{item}{after}")
    except etree.XMLSyntaxError:
        if not _may_be_illegal(item):
            raise
        legal = _REFERENCE.sub(_legal_reference, _ILLEGAL.sub("", item))
        if legal == item:
            raise
        return _parse(f"{before}{legal}{after}")


def _may_be_illegal(item: str) -> bool:
    """Whether an item may hold what is no character of XML. The pattern would take as long as parsing the item, and seldom finds one."""
    if "&#" in item or not item.isascii():
        return True
    text = item.encode()
    return len(text.translate(None, _CONTROLS)) < len(text)


def _legal_reference(reference: re.Match[str]) -> str:
    number = int(reference[1], 16) if reference[1] else int(reference[2])
    return "" if number > sys.maxunicode or _ILLEGAL.match(chr(number)) else reference[0]


def _only_item(root: etree._Element) -> etree._Element:
    while name_of(root) in ENVELOPES:
        root = root[0]
    return root


def _message(error: etree.XMLSyntaxError) -> str:
    """Return libxml2's message: names of tags and entities, line and column, never text of the body."""
    return " ".join((error.msg or "it cannot be read").split()).rstrip(".") + "."
