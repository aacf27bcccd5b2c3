"""Limits how far anything may unpack: files and bodies of events stay within, bombs do not."""

from __future__ import annotations

import io
import zlib
from contextlib import suppress
from typing import Any, Final

__all__ = ["DamagedError", "Gunzipping", "TooFarError", "gunzipped", "most_unpacked", "unpacks_too_far"]

_LARGEST_RATIO: Final = 500
"""Largest ratio of a file's size to its size in the archive: XML of events has 10 to 40, a bomb a thousand."""
_LEAST_BYTES: Final = 4096
"""Size in the archive, in bytes, that any file is credited with: a short one of blanks is not a bomb."""
_LARGEST_BODY: Final = 64 * 2**20
"""Bytes that a body may unpack to: a message has 1 MiB at most, and the ratio of gzipped events is up to 40."""

_CHUNK: Final = 64 * 2**10
"""Packed bytes that are read at a time."""

_GZIP: Final = 31
"""zlib's number for the gzip format."""


class TooFarError(ValueError):
    """It unpacks to far more than events do."""


class DamagedError(ValueError):
    """It is not a gzip, or was cut off."""


def most_unpacked(packed: int) -> int:
    """Return the bytes that a file of events may unpack to, at most, given its size in the archive."""
    return _LARGEST_RATIO * max(packed, _LEAST_BYTES)


def unpacks_too_far(packed: int, unpacked: int) -> bool:
    """Whether bytes of an archive unpack to more than a file of events does."""
    return unpacked > most_unpacked(packed)


def gunzipped(data: bytes) -> bytes:
    """Return the content of a gzip, of all its members.

    Raises:
        TooFarError: it has more than a body of events; no more than that was unpacked.
        DamagedError: it is not a whole gzip.
    """
    limit = min(_LARGEST_RATIO * max(len(data), _LEAST_BYTES), _LARGEST_BODY)
    parts: list[bytes] = []
    rest = data
    while rest:
        member = zlib.decompressobj(wbits=_GZIP)
        try:
            parts.append(member.decompress(rest, limit + 1))
        except zlib.error as error:
            raise DamagedError from error
        limit -= len(parts[-1])
        if limit < 0:
            raise TooFarError
        if not member.eof:
            raise DamagedError
        rest = member.unused_data.lstrip(b"\0")
    return b"".join(parts)


class Gunzipping(io.RawIOBase):
    """Streams the content of a gzip, of all its members. Content before damage is returned, and the read after it raises.

    On damage, Python's ``gzip`` (3.11) loses what a read has unpacked: all of a small file.

    Args:
        packed: the gzip.
        at_most: bytes that it may unpack to; it may never unpack to far more than was read of it.

    Raises:
        TooFarError: a read meets what files of events never unpack to.
        zlib.error: a read meets bytes that are not gzip.
        EOFError: the gzip was cut off.
    """

    def __init__(self, packed: io.BufferedReader, *, at_most: int | None = None) -> None:
        self._packed = packed
        self._at_most = at_most
        self._taken = self._given = 0
        self._rest = b""
        self._unpacked = b""
        self._member: Any = None
        self._failure: Exception | None = None

    def readable(self) -> bool:
        """Return true."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Unpack more into a buffer, and return the number of bytes."""
        while not self._unpacked:
            if self._failure is not None:
                raise self._failure
            if not self._rest and not (rest := self._packed.read1(_CHUNK)):
                if self._member is None:
                    return 0
                self._failure = EOFError("The gzip was cut off.")
                continue
            self._taken += 0 if self._rest else len(rest)
            self._advance(self._rest or rest)
            self._given += len(self._unpacked)
            if unpacks_too_far(self._taken, self._given) or (self._at_most is not None and self._given > self._at_most):
                raise TooFarError
        count = min(len(buffer), len(self._unpacked))
        buffer[:count] = self._unpacked[:count]
        self._unpacked = self._unpacked[count:]
        return count

    def _advance(self, packed: bytes) -> None:
        if self._member is None:
            packed = packed.lstrip(b"\0")  # padding, which tapes add
            self._member = zlib.decompressobj(wbits=_GZIP) if packed else None
        if self._member is None:
            self._rest = b""
            return
        before = self._member.copy()
        try:
            self._unpacked = self._member.decompress(packed, _CHUNK)
        except zlib.error as error:
            self._unpacked, self._failure = _up_to_damage(before, packed), error
            return
        ended = self._member.eof
        self._rest = self._member.unused_data if ended else self._member.unconsumed_tail
        if ended:
            self._member = None


def _up_to_damage(member: Any, packed: bytes) -> bytes:
    """Unpack the content before the damage that is known to be in some bytes."""
    content = bytearray()
    with suppress(zlib.error):
        for at in range(len(packed)):
            content += member.decompress(packed[at : at + 1])
    return bytes(content)
