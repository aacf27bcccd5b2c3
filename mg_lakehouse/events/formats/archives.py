"""Recognizes zips with files of events, and those to refuse."""

from __future__ import annotations

import zipfile
from typing import Final

from mg_lakehouse.events.formats.unpacking import unpacks_too_far

__all__ = ["ZIP_BEGINS", "has_password", "is_bomb"]

ZIP_BEGINS: Final = (b"PK\x03\x04", b"PK\x05\x06")
"""The first four bytes of a zip, and of an empty one."""


def has_password(member: zipfile.ZipInfo) -> bool:
    """Whether a member of a zip is encrypted."""
    return bool(member.flag_bits & 1)


def is_bomb(member: zipfile.ZipInfo) -> bool:
    """Whether a member of a zip unpacks to far more than a file of events does."""
    return unpacks_too_far(member.compress_size, member.file_size)
