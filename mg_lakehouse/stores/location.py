"""Where a lake is, and what its store wants to be asked with. It imports nothing large: a process can know it before it loads what reads tables."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:  # pydantic takes 0.2 s
    from mg_lakehouse.settings import Settings

__all__ = ["Layer", "Location", "catalog_file"]

Layer = Literal["bronze", "silver", "gold"]


@dataclass(frozen=True, slots=True)
class Location:
    """A lake root: a local folder or an ``s3://`` address.

    ``resolved`` are storage options that another process resolved, for one that may look for no credentials itself.
    """

    uri: str
    resolved: Mapping[str, str] | None = field(default=None, repr=False, compare=False, kw_only=True)

    @property
    def is_local(self) -> bool:
        """Whether the lake is a folder of this machine."""
        return "://" not in self.uri or self.uri.startswith("file://")

    @property
    def root(self) -> str:
        """The root without a trailing slash, absolute where it is local."""
        if self.is_local:
            return str(Path(self.uri.removeprefix("file://")).expanduser().absolute())
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


def catalog_file(settings: Settings) -> Path | None:
    """Where the catalogue is kept: ``MG_CATALOG``, or the root of a local lake; ``None`` for a lake elsewhere and nothing set."""
    if settings.catalog is not None:
        return settings.catalog.expanduser().absolute()
    location = Location(settings.lake_uri)
    return Path(location.root) / "catalog.duckdb" if location.is_local else None
