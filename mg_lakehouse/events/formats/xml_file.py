"""Cuts a daily file of the AccountActivity API into bundles, in one pass and bounded memory, whatever its size.

Nothing is parsed or rewritten: a bundle is a stretch of the file's own text, from one item's end to another's, within tags
that bind the same namespaces. So entities, CDATA and self-closing elements stay as they are. Text that no parser accepts is kept for silver
to judge: an item that never closes ends where the next of its kind begins, or with the bundle. All pieces together are everything
between the tags of ``ActivityItems``, plus whatever outside of them is more than the head of a response.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from hashlib import sha256
from typing import Final, NamedTuple

from mg_lakehouse.events.catalogue import COMMON_COLUMNS
from mg_lakehouse.events.formats.encodings import AS_WINDOWS_1252, encoding_of
from mg_lakehouse.events.strict.scanner import ENVELOPES, ITEM_SUFFIX, TAG, local_name

__all__ = ["ActivityFileReader", "FileBundle", "Piece", "in_bundles"]

_BUNDLE_ITEMS: Final = 500
_BUNDLE_CHARACTERS: Final = 256 * 1024

_LARGEST_PIECE: Final = 16 * 2**20
"""Characters of one item, at most, which bounds the memory. The reader of bodies takes no text of more than 10 MB either."""

_PROLOGUE: Final = 64 * 1024
"""Characters before the items that are kept, to recognize an error document."""

_DECLARATION: Final = 256
"""Bytes that hold a file's XML declaration, if it has one."""

_CLOSINGS: Final = {"<!--": "-->", "<![CDATA[": "]]>", "<?": "?>"}
_TOKEN: Final = re.compile(rf"<!--|<!\[CDATA\[|<\?|{TAG.pattern}")
_NAMESPACE: Final = re.compile(r"""\s(xmlns(?::[^\s=]+)?)\s*=\s*("[^"<]*"|'[^'<]*')""")

# What may stand outside of `ActivityItems`: blanks, comments, instructions, a document type without a subset of its own, tags of elements around it,
# and within a response elements with a text. Not a child that every event has, nor a tag of an item: those belong to a damaged event.
_OF_EVENTS: Final = "|".join(element for column in COMMON_COLUMNS if column.required for element in column.elements)
_HEAD_NAME: Final = rf"""(?!(?:[^\s<>/:]+:)?(?:{_OF_EVENTS}|[^\s<>/:]*{ITEM_SUFFIX})[\s/>])[^\s<>/"'=!?]+"""
# Atomic, not possessive, which before 3.11.5 Python ends at a quote without its end.
_ATTRIBUTES: Final = r"""(?>(?:[^<>"']++|"[^"<]*+"|'[^'<]*+')*)"""
_AROUND: Final = rf"[\s\ufeff]+|<!--.*?-->|<\?.*?\?>|<!DOCTYPE[^<>\[]*>|</?{_HEAD_NAME}{_ATTRIBUTES}>"
_PASSED: Final = re.compile(_AROUND, re.DOTALL)
_PASSED_IN_RESPONSE: Final = re.compile(rf"<({_HEAD_NAME})(?:\s{_ATTRIBUTES})?(?<!/)>[^<]*</\1\s*>|{_AROUND}", re.DOTALL)


class Piece(NamedTuple):
    """A stretch of the file that ends with an item; the last one may hold none."""

    text: str
    is_item: bool


class FileBundle(NamedTuple):
    """A bundle cut out of a file: a document of its own, and the number of items in it."""

    body: str
    items: int


def in_bundles(pieces: Iterable[Piece], *, items: int = _BUNDLE_ITEMS, characters: int = _BUNDLE_CHARACTERS) -> Iterator[tuple[str, int]]:
    """Join pieces into stretches, each with its number of items: at most ``items``, and ``characters`` characters without the last item.

    The cuts depend only on the texts.
    """
    texts: list[str] = []
    count = size = 0
    for piece in pieces:
        texts.append(piece.text)
        count, size = count + piece.is_item, size + len(piece.text)
        if count >= items or size >= characters:
            yield "".join(texts), count
            texts, count, size = [], 0, 0
    if texts:
        yield "".join(texts), count


class ActivityFileReader:
    """Reads one file, once.

    After reading: ``prologue`` is the text before the items; ``has_items_tag`` states whether there is an ``ActivityItems`` at all,
    ``complete`` whether it and the response around it end, ``lines`` the number of line ends, ``undecodable`` whether bytes were not text in the file's encoding (they are read as windows-1252, so that none is lost), and
    ``digest`` is the SHA-256 of all pieces in hex. The rest of the file differs in each download, for it holds the id of the call.

    Args:
        chunks: the file's bytes, in order.
        largest_piece: characters of one item, at most; a longer one is cut there.
        encoding: the file's encoding, by default what the file says, see :func:`~mg_lakehouse.events.formats.encodings.encoding_of`.
    """

    def __init__(self, chunks: Iterable[bytes], *, largest_piece: int = _LARGEST_PIECE, encoding: str | None = None) -> None:
        self._encoding = encoding
        self._chunks = self._decoded(chunks)
        self._largest = largest_piece
        self._buffer = ""
        self._at = 0
        self._ended = False
        self._inside = False
        self._in_response = False
        self._held: list[Piece] | None = []
        self._never_closed: set[str] = set()
        self._namespaces: dict[str, str] = {}
        self._name = "ActivityItems"
        self._hash = sha256()
        self.prologue = ""
        self.has_items_tag = False
        self.lines = 0
        self.undecodable = False

    @property
    def complete(self) -> bool:
        """Whether everything that begins also ends: not so in a file that was cut off within the items, or before the end of its response."""
        return not (self._inside or self._in_response)

    @property
    def digest(self) -> str:
        """SHA-256 of the pieces read so far, in hex."""
        return self._hash.hexdigest()

    def bundles(self, *, items: int = _BUNDLE_ITEMS, characters: int = _BUNDLE_CHARACTERS) -> Iterator[FileBundle]:
        """Yield bundles of at most ``items`` items, and of ``characters`` characters without the last item; one without items for an empty file.

        The cuts depend only on the file's text.
        """
        empty = True
        for text, count in in_bundles(self.pieces(), items=items, characters=characters):
            yield self._bundle(text, count)
            empty = False
        if empty:
            yield self._bundle("", 0)

    def pieces(self) -> Iterator[Piece]:
        """Yield all stretches of the file that end with an item, in order, and the rest after the last one."""
        offset = 0
        while not self._ended or self._at < len(self._buffer):
            token = self._search(_TOKEN, offset)
            if token is None:
                yield from self._leave(len(self._buffer) - self._at)
                offset = 0
                continue
            start, end = token.start() - self._at, token.end() - self._at
            if closing := _CLOSINGS.get(token[0]):
                offset = self._behind(closing, end)
            elif local_name(token[2]) in ENVELOPES:
                yield from self._leave(start)
                yield from self._let_go()
                self._envelope(token)
                self._at += end - start
                offset = 0
            elif token[1] or not (self._inside or local_name(token[2]).endswith(ITEM_SUFFIX)):
                offset = end
            else:
                if not self._inside:
                    yield from self._leave(start)
                    yield from self._let_go()
                    end -= start
                yield self._taken(end if token[3].endswith("/") else self._end_of(token[2], end), is_item=True)
                offset = 0

    def _envelope(self, token: re.Match[str]) -> None:
        """Pass a tag of the envelope, and record its attributes."""
        if not token[1]:
            self._namespaces.update(_NAMESPACE.findall(token[3]))
        if local_name(token[2]) != "ActivityItems":
            self._in_response = not token[1] and not token[3].endswith("/")
            self.prologue += "" if self.has_items_tag else token[0]
            return
        empty = token[3].endswith("/")
        self._inside = not token[1] and not empty
        self.has_items_tag = True
        self._name = token[2]

    def _leave(self, length: int) -> Iterator[Piece]:
        """Pass the text before a tag of the envelope, an item or the end; it becomes a piece if it is more than a head."""
        text = self._buffer[self._at : self._at + length]
        if not self.has_items_tag and len(self.prologue) < _PROLOGUE:
            self.prologue += text[:_PROLOGUE]
        if not text.strip() or not (self._inside or self._is_more_than_head(text)):
            self._at += length
        elif self._held is None:
            yield self._taken(length, is_item=False)
        else:
            # Nothing shows yet that this is a file of the feed: a server's error page is all text.
            self._held += [Piece(text, is_item=False)] if sum(len(piece.text) for piece in self._held) < self._largest else []
            self._at += length

    def _let_go(self) -> Iterator[Piece]:
        """Yield the pieces held back until the file proved to be one of the feed."""
        for piece in self._held or ():
            self._hash.update(piece.text.encode("utf-8", "replace"))
            yield piece
        self._held = None

    def _is_more_than_head(self, text: str) -> bool:
        """Whether a stretch outside of ``ActivityItems`` holds more than may stand there: a damaged event, or text."""
        passed = _PASSED_IN_RESPONSE if self._in_response else _PASSED
        at = 0
        while at < len(text):
            head = passed.match(text, at)
            if head is None:
                return True
            at = head.end()
        return False

    def _taken(self, length: int, *, is_item: bool) -> Piece:
        text = self._buffer[self._at : self._at + length]
        self._at += length
        self._hash.update(text.encode("utf-8", "replace"))
        return Piece(text, is_item)

    def _end_of(self, name: str, offset: int) -> int:
        """Return the end of the item whose start tag, of this name, ends at ``offset``."""
        plain = self._plain_end_of(name, offset)
        if plain is not None:
            return plain
        pattern = _ends_of(name)
        while (token := self._search(pattern, offset)) is not None:
            start, end = token.start() - self._at, token.end() - self._at
            if closing := _CLOSINGS.get(token[0]):
                offset = self._behind(closing, end)
                continue
            return end if token["own"] else start
        return len(self._buffer) - self._at

    def _plain_end_of(self, name: str, offset: int) -> int | None:
        """Return the same if the buffer has the end and nothing before it that a search must skip or stop at. This halves the time to cut a file."""
        end_tag = f"</{name}>"
        start = self._at + offset
        end = self._buffer.find(end_tag, start)
        if end < 0 or any(self._buffer.find(odd, start, end) >= 0 for odd in ("<!", "<?", f"<{name}", "ActivityItems")):
            return None
        return end + len(end_tag) - self._at

    def _behind(self, closing: str, offset: int) -> int:
        """Return the end of a comment, section or instruction that began before ``offset``; ``offset`` itself if it never ends."""
        if closing in self._never_closed:
            return offset
        match = self._search(re.compile(re.escape(closing)), offset, overlap=len(closing) - 1)
        if match is not None:
            return match.end() - self._at
        if not self._ended:  # longer than a piece may be
            return len(self._buffer) - self._at
        self._never_closed.add(closing)  # searched once, for each search reads the whole rest
        return offset

    def _search(self, pattern: re.Pattern[str], offset: int, *, overlap: int | None = None) -> re.Match[str] | None:
        """Search from ``offset`` in the current piece, and read on until something is found.

        A token at the buffer's end, possibly cut, begins with its last ``<``, or ``overlap`` characters before the end.
        """
        while True:
            match = pattern.search(self._buffer, self._at + offset)
            if match is not None:
                return match
            length = len(self._buffer) - self._at
            if length >= self._largest:
                return None
            again = self._buffer.rfind("<", self._at + offset) - self._at if overlap is None else length - overlap
            offset = max(offset, again if again >= 0 else length)
            chunk = next(self._chunks, None)
            if chunk is None:
                self._ended = True
                return None
            self._buffer, self._at = self._buffer[self._at :] + chunk, 0

    def _bundle(self, text: str, items: int) -> FileBundle:
        bound = "".join(f" {name}={value}" for name, value in self._namespaces.items())
        return FileBundle(f"<{self._name}{bound}>{text}</{self._name}>", items)

    def _decoded(self, chunks: Iterable[bytes]) -> Iterator[str]:
        decoder: codecs.IncrementalDecoder | None = None
        begin = b""
        for chunk in chunks:
            begin += chunk
            if decoder is None and len(begin) < _DECLARATION:
                continue
            decoder = decoder or codecs.getincrementaldecoder(self._encoding or encoding_of(begin))()
            yield self._text(decoder, begin)
            begin = b""
        decoder = decoder or codecs.getincrementaldecoder(self._encoding or encoding_of(begin))()
        yield self._text(decoder, begin, final=True)

    def _text(self, decoder: codecs.IncrementalDecoder, chunk: bytes, *, final: bool = False) -> str:
        try:
            text = decoder.decode(chunk, final)
        except UnicodeDecodeError:
            self.undecodable = True
            decoder.errors = AS_WINDOWS_1252
            text = decoder.decode(chunk, final)
        self.lines += text.count("\n")
        return text


@lru_cache(maxsize=256)
def _ends_of(name: str) -> re.Pattern[str]:
    """Return the pattern of what can end an item of this name, and of what must be skipped before it."""
    own = re.escape(name)
    return re.compile(rf"<!--|<!\[CDATA\[|<\?|(?P<own></{own}\s*>)|<{own}(?=[\s/>])|</?(?:[^\s<>/:]+:)?ActivityItems(?=[\s/>])")
