"""AWS credentials, resolved once for a process and refreshed before they expire.

boto3 resolved them anew for each table that was opened: 191 to 293 times in a run, with a role each time a call of STS or of the instance's metadata, and
10 ms of CPU in any case.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from boto3 import Session
    from botocore.credentials import Credentials

__all__ = ["CERTIFICATES", "DEFAULT_REGION", "Access", "access"]

DEFAULT_REGION: Final = "us-east-1"

CERTIFICATES: Final = "SSL_CERT_FILE"
"""Variable: a file of the certificates that are trusted in place of the system's. delta-rs, Polars and obstore read it."""

_FILES: Final = {"AWS_SHARED_CREDENTIALS_FILE": "~/.aws/credentials", "AWS_CONFIG_FILE": "~/.aws/config"}

_lock: Final = threading.Lock()
_known: dict[Any, tuple[str | None, str | None, Credentials]] = {}


class Access(NamedTuple):
    """The region, the endpoint of S3 where it is not the usual one, and the keys as they are now; each ``None`` where there is none."""

    region: str | None
    endpoint: str | None
    key: str | None
    secret: str | None
    token: str | None


def access() -> Access:
    """Return what boto3 finds in the environment, the profile or the role of this process.

    The provider is kept, and refreshes what expires. It is looked for anew where the environment or a file of ``~/.aws`` is another one, and as long as
    nothing is found.

    Raises:
        botocore.exceptions.BotoCoreError: the profile is unknown, or its provider gives nothing.
    """
    place = _place()
    with _lock:
        if place not in _known:
            import boto3  # noqa: PLC0415  a local lake does not pay the 0.2 s

            session = boto3.Session()
            _trust(session._session.get_config_variable("ca_bundle"))  # noqa: SLF001  boto3 has no other way to it
            credentials = session.get_credentials()
            endpoint = _endpoint(session)
            if credentials is None:
                return Access(session.region_name, endpoint, None, None, None)
            _known.clear()
            _known[place] = (session.region_name, endpoint, credentials)
        region, endpoint, known = _known[place]
    frozen = known.get_frozen_credentials()
    return Access(region, endpoint, frozen.access_key, frozen.secret_key, frozen.token)


def _endpoint(session: Session) -> str | None:
    """Return the endpoint of S3 that is set, or that of FIPS or of both kinds of addresses where that is asked for: only boto3 knows these by itself."""
    if (named := os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")) is not None:
        return named
    wanted = (session._session.get_config_variable(name) for name in ("use_fips_endpoint", "use_dualstack_endpoint"))  # noqa: SLF001  as above
    if not any(wanted):
        return None
    from botocore.config import Config  # noqa: PLC0415

    # Without it, the endpoint of us-east-1 is one of all regions, of which there is none with FIPS.
    regional = Config(s3={"us_east_1_regional_endpoint": "regional"})
    return str(session.client("s3", region_name=session.region_name or DEFAULT_REGION, config=regional).meta.endpoint_url)


def _trust(bundle: str | None) -> None:
    """Have the libraries in Rust trust the certificates that boto3 trusts, of ``AWS_CA_BUNDLE`` or the profile: they know another variable, of OpenSSL."""
    if bundle:
        os.environ.setdefault(CERTIFICATES, bundle)


def _place() -> tuple[Any, ...]:
    """What the answer depends on: the variables of AWS, and when the files were written."""
    variables = tuple(sorted((name, value) for name, value in os.environ.items() if name.startswith("AWS_") or name == "HOME"))
    return variables, tuple(_written_at(os.environ.get(name, default)) for name, default in _FILES.items())


def _written_at(file: str) -> int | None:
    try:
        return Path(file).expanduser().stat().st_mtime_ns
    except (OSError, RuntimeError):  # there is none, or no home
        return None
