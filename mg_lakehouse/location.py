"""The location of a lake, and its store's options. Imports nothing large: a process can know it before it loads the libraries for tables.

A path is text for Polars, Python and the kernel, a pattern for DuckDB's readers of files, and part of a URL for delta-rs and its kernel, also in DuckDB.
Each character was tried with each of them (:data:`_NOT_ON_DISK`, :data:`_NOT_ON_S3`). Characters with which one of them finds another place,
or none, are refused before anything is received; all others mean the same place everywhere.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal
from urllib.parse import unquote

from mg_lakehouse._util.aws import DEFAULT_REGION, access
from mg_lakehouse.errors import ConfigurationError

__all__ = ["NO_HOME", "VENDOR_TOTALS_NAME", "Layer", "Location", "address_of", "fault_of"]

Layer = Literal["bronze", "silver", "gold"]

VENDOR_TOTALS_NAME: Final = "reconciliation"
"""The gold table that dbt does not build."""

_FILE: Final = "file://"

_NOT_ON_DISK: Final = "%#?[]|^\\"
"""delta-rs (1.6.6) reads ``%20`` as a space and ``\\`` as ``/`` in one place and not in another, finds no history after ``#`` and ``?``, and panics at
``[``, ``]``, ``|`` and ``^``. DuckDB (1.5) puts the log of its own file, such as the catalogue, before a ``?``, and its Delta extension opens other
files after a ``%``."""

_NOT_ON_S3: Final = _NOT_ON_DISK + "*"
"""delta-rs ignores what follows ``#`` and ``?``: it reads ``s3://bucket/a#b`` as ``a``. With ``*`` DuckDB lists whatever matches."""

_LONGEST_NAME: Final = 255

_LONGEST_PATH: Final = 3_800
"""Limits, in bytes, of a name, and of a path with room for the lake's content; Linux has 255 and 4,096."""


@dataclass(frozen=True, slots=True)
class Location:
    """A lake root: a local folder or an ``s3://`` address.

    ``resolved`` are storage options from another process, for a process that may not look for credentials itself.
    """

    uri: str
    resolved: Mapping[str, str] | None = field(default=None, repr=False, compare=False, kw_only=True)

    def __post_init__(self) -> None:
        """Refuse an address that is not the same place for all that read and write it.

        Raises:
            ConfigurationError: the address is one of these.
        """
        if fault := fault_of(self.uri):
            raise ConfigurationError(f"MG_LAKE_URI: {fault}.")

    @property
    def is_local(self) -> bool:
        """Whether the lake is a folder of this machine."""
        return _is_local(self.uri)

    @property
    def root(self) -> str:
        """The root without a trailing slash; an absolute path if it is local."""
        if self.is_local:
            return _folder(self.uri)
        return self.uri.rstrip("/")

    def uri_of(self, layer: Layer, table: str) -> str:
        """Return the address of a table."""
        return f"{self.root}/{layer}/{table}"

    def storage_options(self) -> dict[str, str]:
        """Return the options for delta-rs and Polars, with credentials as they are now, for one use.

        delta-rs does not read ``~/.aws`` as boto3 does.
        """
        if self.resolved is not None:
            return dict(self.resolved)
        if self.is_local:
            return {}
        found = access()
        options = {"aws_region": found.region or DEFAULT_REGION}
        if found.endpoint:
            options |= {"aws_endpoint_url": found.endpoint, "aws_allow_http": str(found.endpoint.startswith("http://")).lower()}
        if found.key is not None:
            options |= {"aws_access_key_id": found.key, "aws_secret_access_key": found.secret or ""}
            if found.token:
                options["aws_session_token"] = found.token
        return options


NO_HOME: Final = "it begins with ~ and a name that is no user of this machine; if a folder has that name, write ./ in front"


def fault_of(uri: str) -> str | None:
    """Return what is wrong with a lake's address, as a clause with the remedy; ``None`` if all libraries read it as the same place."""
    if not _is_local(uri):
        return _fault_on_s3(uri)
    try:
        folder = _folder(uri)
    except RuntimeError:
        return NO_HOME
    return _fault_of_text(uri) or _fault_on_disk(folder)


def _fault_of_text(uri: str) -> str | None:
    if not uri.strip():
        return "it is blank; name a folder, or unset it"
    if uri.startswith("file:") and not uri.startswith("file:///"):
        return "a file address begins with file:/// and an absolute path; write a path without file:"
    return None


def _fault_on_disk(folder: str) -> str | None:
    # delta-rs follows links.
    for path in (folder, os.path.realpath(folder)):
        if (bad := _first_of(path, _NOT_ON_DISK)) is not None:
            return f"its folder holds {bad}, which not all libraries read as part of its name; rename the folder, or choose another"
        if max((len(os.fsencode(name)) for name in path.split("/")), default=0) > _LONGEST_NAME or len(os.fsencode(path)) > _LONGEST_PATH:
            return f"its path is too long; a name may have {_LONGEST_NAME} bytes, and the whole path {_LONGEST_PATH:,}"
    return None


def _fault_on_s3(uri: str) -> str | None:
    scheme, _, rest = uri.partition("://")
    if scheme not in {"s3", "s3a"}:
        return "a lake is a folder or an s3:// address"
    bucket, *names = rest.rstrip("/").split("/")
    if not bucket:
        return "it names no bucket; write s3://bucket/folder"
    if (bad := _first_of(rest, _NOT_ON_S3)) is not None:
        return f"its address holds {bad}, which not all libraries read as part of the key; choose a key without it"
    if {"", ".", ".."} & set(names):
        return "its address has a part that is empty, . or .., which not all libraries read as part of the key; choose a key without it"
    return None


def _first_of(text: str, characters: str) -> str | None:
    """Name the first character of a text that is one of some characters, a control, or not UTF-8."""
    for character in text:
        if unicodedata.category(character) in {"Cc", "Cs"}:
            return f"an invisible character (U+{ord(character):04X})"
        if character in characters:
            return character
    return None


def _is_local(uri: str) -> bool:
    return "://" not in uri or uri.startswith(_FILE)


def _folder(uri: str) -> str:
    """Return the absolute path of a local lake. After ``file://`` comes a URL, in which ``%20`` is a space.

    Raises:
        RuntimeError: it begins with the home of an unknown user.
    """
    text = unquote(uri.removeprefix(_FILE)) if uri.startswith(_FILE) else uri
    path = Path(text).expanduser().absolute()
    # One slash in front, for two mean a host in a URL; and .. is resolved as the kernel does, which follows links.
    return os.path.realpath(path) if ".." in path.parts else f"/{str(path).lstrip('/')}"


def address_of(uri: str) -> str:
    """Return the path or S3 address of a table or data file from delta-rs's URL, which encodes most characters other than ASCII letters.

    It is exact, for no lake has a ``%`` in its address, and our data files have none in their names.
    """
    return unquote(uri.removeprefix(_FILE))
