"""What a user agent's text says of the device, the client and the operating system (decisions G45 and G46).

The patterns are ua-parser's, run by its Rust engine, which does not backtrack: no text takes long. Gold's SQL calls
``parse_user_agent(text)``, which :func:`register` gives a DuckDB connection.
"""

from __future__ import annotations

import re
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, NamedTuple

import duckdb
import pyarrow as pa
from ua_parser import Domain, Parser, PartialResult
from ua_parser.loaders import load_lazy_builtins
from ua_parser.regex import Resolver

__all__ = ["DEVICES", "SCANNERS", "UNKNOWN", "UserAgent", "definition", "parse", "register"]

DEVICES: Final = ("desktop", "mobile", "tablet", "image_proxy", "prefetch", "bot", "unknown")
UNKNOWN: Final = "unknown"

_LONGEST_TEXT: Final = 1_000
# Some patterns take the family from the text, which anyone can write: what is no name stays out of gold.
_NAME: Final = re.compile(r"[^@\n]{1,60}")
_PREFETCH: Final = "Mozilla/5.0"
_IMAGE_PROXIES: Final = ("GoogleImageProxy", "YahooMailProxy")
SCANNERS: Final = ("barracuda", "proofpoint", "mimecast", "symantec", "urldefense", "safelinks")
"""What scanners of mail call themselves. The rules of machine clicks have the same names, which a test holds: ``scanner_user_agents`` of the dbt project."""
_SCANNERS: Final = re.compile("|".join(SCANNERS), re.IGNORECASE)
_PROGRAMS: Final = re.compile(r"curl|wget|python|java\b|go-http-client|okhttp|apache-httpclient|axios|node-fetch", re.IGNORECASE)
_MOBILE: Final = frozenset({"iOS", "Android", "Windows Phone", "BlackBerry OS", "KaiOS", "Tizen", "HarmonyOS"})
_DESKTOP: Final = frozenset({"Windows", "Mac OS X", "Mac OS", "Linux", "Ubuntu", "Fedora", "Debian", "Chrome OS", "FreeBSD", "OpenBSD"})
_STRUCT: Final = pa.struct([("device", pa.string()), ("client", pa.string()), ("os", pa.string())])


class UserAgent(NamedTuple):
    """One of :data:`DEVICES`, and the families of the client and of the operating system; ``unknown`` where nothing tells."""

    device: str = UNKNOWN
    client: str = UNKNOWN
    os: str = UNKNOWN


def definition() -> str:
    """What the answers depend on: the versions of the patterns and of their engine, and this module."""
    versions = (version(name) for name in ("ua-parser", "ua-parser-builtins", "ua-parser-rs"))
    return "\n".join((*versions, Path(__file__).read_text(encoding="utf-8")))


def parse(text: str | None) -> UserAgent:
    """What the first 1,000 characters of a user agent's text say."""
    # Half a surrogate pair has no UTF-8, which the engine in Rust reads.
    return _parse((text or "")[:_LONGEST_TEXT].encode(errors="replace").decode().strip())


def register(connection: duckdb.DuckDBPyConnection) -> None:
    """Give a connection ``parse_user_agent(varchar) -> struct(device, client, os)``, which has a value for null too."""
    text = duckdb.sqltype("VARCHAR")
    result = duckdb.struct_type({"device": "VARCHAR", "client": "VARCHAR", "os": "VARCHAR"})
    function: Any = _parse_chunk
    # The strings are DuckDB's names of its enumerations, which the stubs do not take.
    options: dict[str, Any] = {"type": "arrow", "null_handling": "special"}
    connection.create_function("parse_user_agent", function, [text], result, **options)


def _parse_chunk(texts: Any) -> Any:
    """Parse each distinct text of a chunk once: a `ChunkedArray`, which DuckDB, that evaluates annotations, finds no generic type."""
    values = texts.to_pylist()
    parsed = {text: parse(text)._asdict() for text in set(values)}
    return pa.array([parsed[text] for text in values], _STRUCT)


@lru_cache(maxsize=1)
def _parser() -> Parser:
    return Parser(Resolver(load_lazy_builtins()))


@lru_cache(maxsize=20_000)
def _parse(text: str) -> UserAgent:
    if not text:
        return UserAgent()
    if text == _PREFETCH:
        return UserAgent("prefetch", "Apple Mail prefetch")
    for proxy in _IMAGE_PROXIES:
        # The system that a proxy names is made up: Google's says Windows XP.
        if proxy in text:
            return UserAgent("image_proxy", proxy)
    found = _parser()(text, Domain.ALL)
    client = _name(found.user_agent.family if found.user_agent else None)
    system = _name(found.os.family if found.os else None)
    return UserAgent(_device(text, system, found), client, system)


def _name(family: str | None) -> str:
    return family if family and _NAME.fullmatch(family) else UNKNOWN


def _device(text: str, system: str, found: PartialResult) -> str:
    family = found.device.family if found.device else ""
    if family == "Spider" or _SCANNERS.search(text) or _PROGRAMS.match(text) or "HeadlessChrome" in text:
        return "bot"
    # A browser on Android says Mobile unless it is on a tablet; an app says what it likes.
    on_tablet = system == "Android" and text.startswith("Mozilla/") and "Mobile" not in text
    if "iPad" in family or "Kindle" in family or "Tablet" in text or on_tablet:
        return "tablet"
    if system in _MOBILE:
        return "mobile"
    return "desktop" if system in _DESKTOP else UNKNOWN
