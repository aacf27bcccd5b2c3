"""Zips of files of events: by what they are known, and which are refused."""

from __future__ import annotations

import zipfile
from typing import Final

__all__ = ["ZIP_BEGINS", "has_password", "is_bomb"]

ZIP_BEGINS: Final = (b"PK\x03\x04", b"PK\x05\x06")
"""The first four bytes of a zip, and of an empty one."""

_LARGEST_RATIO: Final = 500
"""How much longer a file may be than in its zip: XML of events comes to 10 to 40, a bomb to a thousand."""
_LEAST_BYTES: Final = 4096
"""Bytes that any file is taken to have in its zip: a short one of blanks is no bomb."""


def has_password(member: zipfile.ZipInfo) -> bool:
    """Whether a file of a zip is encrypted."""
    return bool(member.flag_bits & 1)


def is_bomb(member: zipfile.ZipInfo) -> bool:
    """Whether a file of a zip unpacks to far more than a file of events does."""
    return member.file_size > _LARGEST_RATIO * max(member.compress_size, _LEAST_BYTES)
