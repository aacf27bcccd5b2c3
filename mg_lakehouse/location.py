"""Where a lake is, and what its store wants to be asked with. It imports nothing large: a process can know it before it loads what reads tables.

A path is text for Polars, Python and the kernel, a pattern for DuckDB's readers of files, and part of a URL for delta-rs and its kernel, in DuckDB
too. What each makes of a character was tried, character by character (:data:`_NOT_ON_DISK`, :data:`_NOT_ON_S3`): those that come out of one of
them as another place, or not at all, are refused before anything is received; all others are the same place everywhere.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal
from urllib.parse import unquote

from mg_lakehouse.errors import ConfigurationError

__all__ = ["NO_HOME", "RECONCILIATION_NAME", "Layer", "Location", "address_of", "fault_of"]

Layer = Literal["bronze", "silver", "gold"]

RECONCILIATION_NAME: Final = "reconciliation"
"""The gold table that dbt does not build."""

_FILE: Final = "file://"

_NOT_ON_DISK: Final = "%#?[]|^\\"
"""delta-rs (1.6.6) takes ``%20`` for a space and ``\\`` for ``/`` in one place and not in the other, finds no history behind ``#`` and ``?``, and panics at
``[``, ``]``, ``|`` and ``^``. DuckDB (1.5) puts the log of a file of its own, such as the catalogue, before a ``?``, and its Delta extension opens other
files behind a ``%``."""

_NOT_ON_S3: Final = _NOT_ON_DISK + "*"
"""Behind ``#`` and ``?`` delta-rs sees nothing: ``s3://bucket/a#b`` is ``a`` to it. With ``*`` DuckDB lists what looks alike."""

_LONGEST_NAME: Final = 255

_LONGEST_PATH: Final = 3_800
"""Bytes of a name, and of a path with room for what lies in a lake; Linux has 255 and 4,096."""


@dataclass(frozen=True, slots=True)
class Location:
    """A lake root: a local folder or an ``s3://`` address.

    ``resolved`` are storage options that another process resolved, for one that may look for no credentials itself.
    """

    uri: str
    resolved: Mapping[str, str] | None = field(default=None, repr=False, compare=False, kw_only=True)

    def __post_init__(self) -> None:
        """Refuse what would not be the same place to all that read and write it.

        Raises:
            ConfigurationError: it is such a place.
        """
        if fault := fault_of(self.uri):
            raise ConfigurationError(f"MG_LAKE_URI: {fault}.")

    @property
    def is_local(self) -> bool:
        """Whether the lake is a folder of this machine."""
        return _is_local(self.uri)

    @property
    def root(self) -> str:
        """The root without a trailing slash, absolute where it is local."""
        if self.is_local:
            return _folder(self.uri)
        return self.uri.rstrip("/")

    def uri_of(self, layer: Layer, table: str) -> str:
        """Address of a table."""
        return f"{self.root}/{layer}/{table}"

    def storage_options(self) -> dict[str, str]:
        """Options for delta-rs and Polars. Credentials are resolved by boto3 and frozen for one use.

        delta-rs does not read ``~/.aws`` as boto3 does, so boto3 is the one that resolves.
        """
        if self.resolved is not None:
            return dict(self.resolved)
        if self.is_local:
            return {}
        import boto3  # noqa: PLC0415  a local lake does not pay the 0.2 s

        session = boto3.Session()
        endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        options = {"aws_region": session.region_name or "us-east-1"}
        if endpoint:
            options |= {"aws_endpoint_url": endpoint, "aws_allow_http": str(endpoint.startswith("http://")).lower()}
        if credentials := session.get_credentials():
            frozen = credentials.get_frozen_credentials()
            options |= {"aws_access_key_id": frozen.access_key or "", "aws_secret_access_key": frozen.secret_key or ""}
            if frozen.token:
                options["aws_session_token"] = frozen.token
        return options


NO_HOME: Final = "it begins with ~ and the name of nobody on this machine; begin it with ./ where the folder is called so"


def fault_of(uri: str) -> str | None:
    """What is wrong with the address of a lake, as a clause that names it and the remedy; ``None`` where all libraries take it for one place."""
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
    # delta-rs goes by where links lead.
    for path in (folder, os.path.realpath(folder)):
        if (bad := _first_of(path, _NOT_ON_DISK)) is not None:
            return f"its folder holds {bad}, which not all libraries take for a part of its name; rename the folder, or put the lake into another"
        if max((len(os.fsencode(name)) for name in path.split("/")), default=0) > _LONGEST_NAME or len(os.fsencode(path)) > _LONGEST_PATH:
            return f"its path is too long; a name has {_LONGEST_NAME} bytes at most, and the whole {_LONGEST_PATH:,}"
    return None


def _fault_on_s3(uri: str) -> str | None:
    scheme, _, rest = uri.partition("://")
    if scheme not in {"s3", "s3a"}:
        return "a lake is a folder or an s3:// address"
    bucket, *names = rest.rstrip("/").split("/")
    if not bucket:
        return "it names no bucket; write s3://bucket/folder"
    if (bad := _first_of(rest, _NOT_ON_S3)) is not None:
        return f"its address holds {bad}, which not all libraries take for a part of the key; choose a key without it"
    if {"", ".", ".."} & set(names):
        return "its address has a part that is empty, . or .., which not all libraries take for a part of the key; choose a key without it"
    return None


def _first_of(text: str, characters: str) -> str | None:
    """The first of some characters, of controls and of what is no UTF-8 in a text, as a sentence names it."""
    for character in text:
        if unicodedata.category(character) in {"Cc", "Cs"}:
            return f"a character that does not show (U+{ord(character):04X})"
        if character in characters:
            return character
    return None


def _is_local(uri: str) -> bool:
    return "://" not in uri or uri.startswith(_FILE)


def _folder(uri: str) -> str:
    """The absolute path of a local lake. Behind ``file://`` stands a URL, in which ``%20`` is a space.

    Raises:
        RuntimeError: it begins with the home of nobody.
    """
    text = unquote(uri.removeprefix(_FILE)) if uri.startswith(_FILE) else uri
    path = Path(text).expanduser().absolute()
    # One slash in front, for two are a host in a URL; and .. as the kernel has it, which goes by links.
    return os.path.realpath(path) if ".." in path.parts else f"/{str(path).lstrip('/')}"


def address_of(uri: str) -> str:
    """The path or the S3 address of a table or a data file, of the URL that delta-rs gives of it, in which most of what is no ASCII letter is encoded.

    It is exact, for no lake has a ``%`` in its address, and our data files have none in their names.
    """
    return unquote(uri.removeprefix(_FILE))
