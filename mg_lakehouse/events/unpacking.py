"""How far anything may unpack: what files and bodies of events come to, and bombs do not."""

from __future__ import annotations

import zlib
from typing import Final

__all__ = ["DamagedError", "TooFarError", "gunzipped", "unpacks_too_far"]

_LARGEST_RATIO: Final = 500
"""How much longer a file may be than in its archive: XML of events comes to 10 to 40, a bomb to a thousand."""
_LEAST_BYTES: Final = 4096
"""Bytes that any file is taken to have in its archive: a short one of blanks is no bomb."""
_LARGEST_BODY: Final = 64 * 2**20
"""Bytes that a body may unpack to: a message has 1 MiB at most, and the events of so much gzip come to 40."""

_GZIP: Final = 31
"""What zlib calls gzip."""


class TooFarError(ValueError):
    """It unpacks to far more than events do."""


class DamagedError(ValueError):
    """It is no gzip, or broke off."""


def unpacks_too_far(packed: int, unpacked: int) -> bool:
    """Whether so many bytes of an archive unpack to more than a file of events does."""
    return unpacked > _LARGEST_RATIO * max(packed, _LEAST_BYTES)


def gunzipped(data: bytes) -> bytes:
    """The content of a gzip, of all its members.

    Raises:
        TooFarError: it has more than a body of events; no more than that was unpacked.
        DamagedError: it is no whole gzip.
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
