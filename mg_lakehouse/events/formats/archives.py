"""Recognizes zips with files of events, and those to refuse."""

from __future__ import annotations

import zipfile
from typing import Final

from mg_lakehouse.events.formats.unpacking import unpacks_too_far

__all__ = ["ZIP_BEGINS", "has_password", "is_bomb", "kind_of_other"]

ZIP_BEGINS: Final = (b"PK\x03\x04", b"PK\x05\x06")
"""The first four bytes of a zip, and of an empty one."""

_UNPACK: Final = "unpack it, and load its files"
_AS_CSV: Final = "write its rows as CSV in UTF-8, and load that"
_OTHERS: Final = (
    (b"BZh", f"a bzip2: {_UNPACK}"),
    (b"\xfd7zXZ\0", f"an xz: {_UNPACK}"),
    (b"\x28\xb5\x2f\xfd", f"a zstd: {_UNPACK}"),
    (b"\x04\x22\x4d\x18", f"an lz4: {_UNPACK}"),
    (b"7z\xbc\xaf\x27\x1c", f"a 7z: {_UNPACK}"),
    (b"Rar!", f"a rar: {_UNPACK}"),
    (b"PAR1", f"a Parquet file: {_AS_CSV}"),
    (b"Obj\x01", f"an Avro file: {_AS_CSV}"),
    (b"ORC", f"an ORC file: {_AS_CSV}"),
    (b"\xd0\xcf\x11\xe0", f"a spreadsheet or document: {_AS_CSV}"),
    (b"%PDF-", "a PDF, which holds no events"),
)
_TAR: Final = slice(257, 262)


def kind_of_other(begin: bytes) -> str | None:
    """Return what a file of another format is, by its first bytes, and what to do; ``None`` if it may be one of the feed."""
    if begin[_TAR] == b"ustar":
        return f"a tar: {_UNPACK}"
    return next((kind for sign, kind in _OTHERS if begin.startswith(sign)), None)


def has_password(member: zipfile.ZipInfo) -> bool:
    """Whether a member of a zip is encrypted."""
    return bool(member.flag_bits & 1)


def is_bomb(member: zipfile.ZipInfo) -> bool:
    """Whether a member of a zip unpacks to far more than a file of events does."""
    return unpacks_too_far(member.compress_size, member.file_size)
