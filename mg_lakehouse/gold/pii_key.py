"""The key of the hash that stands for an address in gold.

``MG_PII_KEY`` where it is set. A local lake that has none gets a random one, made once and kept beside its
tables; an S3 lake does not, for a key in the bucket would be readable by everyone who reads the tables.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
from pathlib import Path
from typing import Final, NamedTuple

from mg_lakehouse._util.temp_folders import OwnFolder
from mg_lakehouse.errors import ConfigurationError
from mg_lakehouse.lake.durable import sync_file, sync_folder
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.settings import Settings

__all__ = ["HmacPads", "hmac_pads", "is_generated", "pii_key"]

_FILE: Final = ".pii_key"
_KEY_BYTES: Final = 32
_BLOCK_BYTES: Final = hashlib.sha256().block_size


class HmacPads(NamedTuple):
    """The two 64-byte blocks of HMAC-SHA256 (RFC 2104): all that SQL needs of the key."""

    inner: bytes
    outer: bytes


def is_generated(settings: Settings, lake: Lake) -> bool:
    """Whether gold's hashes rest on the random key beside the lake, so that losing that file loses the key."""
    return settings.pii_key is None and lake.is_local


def pii_key(settings: Settings, lake: Lake) -> bytes:
    """The key: `MG_PII_KEY`, else the one beside the lake, which is made where it is missing.

    Raises:
        ConfigurationError: an S3 lake without `MG_PII_KEY`, or a key file that is empty or not readable.
    """
    if settings.pii_key is not None:
        return settings.pii_key.get_secret_value().encode()
    if not lake.is_local:
        raise ConfigurationError(
            f"MG_PII_KEY is not set, and the lake {lake.root} is not a local folder: set it to a long random text and keep it, "
            "for the recipient keys in gold depend on it."
        )
    return _kept_key(lake, Path(lake.root, _FILE))


def hmac_pads(key: bytes) -> HmacPads:
    """Inner and outer pad of a key."""
    block = (hashlib.sha256(key).digest() if len(key) > _BLOCK_BYTES else key).ljust(_BLOCK_BYTES, b"\0")
    return HmacPads(inner=bytes(byte ^ 0x36 for byte in block), outer=bytes(byte ^ 0x5C for byte in block))


def _kept_key(lake: Lake, file: Path) -> bytes:
    try:
        if not file.exists():
            lake.make_root()
            _create(file)
        key = file.read_bytes().strip()
    except OSError as error:
        raise ConfigurationError(
            f"The key file {file} cannot be read or made ({error.strerror}): correct its rights or set MG_PII_KEY."
        ) from error
    if not key:
        raise ConfigurationError(f"The key file {file} is empty: restore it, or set MG_PII_KEY.")
    return key


def _create(file: Path) -> None:
    """Make the key whole or not at all: the loser of a race reads the winner's."""
    with OwnFolder(file.parent, f"{_FILE}-") as folder:
        draft = folder.path / _FILE
        draft.touch(mode=0o600)
        draft.write_text(secrets.token_hex(_KEY_BYTES))
        sync_file(draft)
        # A link, unlike a rename, fails where the name is taken.
        with contextlib.suppress(FileExistsError):
            os.link(draft, file)
        sync_folder(file.parent)
