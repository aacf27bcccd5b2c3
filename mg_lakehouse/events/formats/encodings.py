"""Decides in which encoding bytes are read, and keeps those that do not belong to it.

UTF-8, unless a byte order mark, a declaration of XML or the zeros of UTF-16 say otherwise. Nobody can tell one encoding of single bytes from
another, so no other is guessed: a file is refused, and whoever loads it says which. Where nobody can be asked, a byte that is no UTF-8 becomes its character of
windows-1252, never U+FFFD, of which no byte comes back.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable
from typing import Final

__all__ = ["AS_WINDOWS_1252", "encoding_of", "known_encoding", "undecodable_line"]

AS_WINDOWS_1252: Final = "mg_lakehouse_windows_1252"
"""Name of the error handler that reads bytes that are not of the encoding as windows-1252."""

_UTF_16: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_UTF_32: Final = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)
_ENCODING: Final = re.compile(rb"""^\s*<\?xml[^>]*?\sencoding\s*=\s*["']([A-Za-z][\w.-]*)["']""")
_WITH_ZEROS: Final = (
    (rb"[\x01-\x7f]\0\0\0", "utf-32-le"),
    (rb"\0\0\0[\x01-\x7f]", "utf-32-be"),
    (rb"[\x01-\x7f]\0", "utf-16-le"),
    (rb"\0[\x01-\x7f]", "utf-16-be"),
)
_LEAST_SIGNS: Final = 4


def encoding_of(begin: bytes) -> str:
    """Return a file's encoding: by its byte order mark, by zeros between its first signs, by its declaration, else UTF-8."""
    if begin.startswith(_UTF_32):
        return "utf-32"
    if begin.startswith(_UTF_16):
        return "utf-16"
    for signs, name in _WITH_ZEROS:
        if re.match(b"(?:%s){%d}" % (signs, _LEAST_SIGNS), begin):
            return name
    declared = _ENCODING.match(begin)
    try:
        name = codecs.lookup(declared[1].decode()).name if declared else "utf-8"
    except LookupError:
        name = "utf-8"
    return "utf-8-sig" if name in ("utf-8", "utf-16", "utf-32") else name


def known_encoding(name: str) -> str | None:
    """Return Python's name of an encoding of texts; ``None`` if there is none."""
    try:
        found = codecs.lookup(name).name
        "".encode(found)  # some only turn bytes into bytes
    except (LookupError, ValueError):
        return None
    return "utf-8-sig" if found == "utf-8" else found


def undecodable_line(chunks: Iterable[bytes], encoding: str) -> int | None:
    """Return the line, from 1, of the first byte that is not of the encoding; ``None`` if all are."""
    decoder = codecs.getincrementaldecoder(encoding)()
    lines = 1
    try:
        for chunk in chunks:
            lines += decoder.decode(chunk).count("\n")
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        return lines + error.object[: error.start].count(b"\n")
    return None


def _as_windows_1252(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    # Five of its bytes have no character: they stay what they are in ISO 8859-1, as browsers read them.
    return "".join(bytes([byte]).decode("cp1252", "ignore") or chr(byte) for byte in error.object[error.start : error.end]), error.end


codecs.register_error(AS_WINDOWS_1252, _as_windows_1252)
