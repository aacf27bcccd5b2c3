"""One form for the many spellings of an e-mail address: what recipients' keys are made of (decision G75).

SQL asks for it only where an address has a sign that a plain one has not (``email_address`` of the dbt project), for a function of Python is dear. The
text as received stays in silver, and on the suppression list beside this form.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

import duckdb
import idna
import pyarrow as pa

__all__ = ["canonical_address", "definition", "register"]

_NAMED: Final = re.compile(r".*<\s*([^<>]*@[^<>]*?)\s*>.*")
_COMMENT: Final = re.compile(r"\([^()]*\)")
_AROUND_SIGNS: Final = re.compile(r"\s*([@.])\s*")
_MAILTO: Final = re.compile(r"(?:mailto|smtp):([^?]*)(?:\?.*)?")
_BEHIND: Final = " .,;:>"
_QUOTES: Final = "\"'`"
_LONGEST: Final = 1_000
"""Characters that are looked at. An address has 254 at most (RFC 5321)."""


def definition() -> str:
    """Return what the answers depend on: the tables of Unicode and of domain names, and this module."""
    return "\n".join((unicodedata.unidata_version, version("idna"), Path(__file__).read_text(encoding="utf-8")))


def register(connection: duckdb.DuckDBPyConnection) -> None:
    """Give a connection ``canonical_address(varchar) -> varchar``."""
    text = duckdb.sqltype("VARCHAR")
    function: Any = _canonical_chunk
    options: dict[str, Any] = {"type": "arrow"}
    connection.create_function("canonical_address", function, [text], text, **options)


def _canonical_chunk(texts: Any) -> Any:
    return pa.array([None if text is None else canonical_address(text) for text in texts.to_pylist()], pa.string())


@lru_cache(maxsize=20_000)
def canonical_address(text: str) -> str:
    """Return the form that an address is compared by: of the person alone, in lower case, its domain as the DNS has it.

    A display name, a comment, ``mailto:``, quotes around it, a dot or comma behind it, invisible characters and all blanks around it are left out; letters
    of full width and letters with combined accents are the ordinary ones; a domain with other letters than ASCII's is in Punycode. What is no address is in
    lower case, without blanks around it and invisible characters.
    """
    plain = unicodedata.normalize("NFKC", text[:_LONGEST])
    plain = " ".join("".join(each for each in plain if unicodedata.category(each) not in ("Cf", "Cc") or each.isspace()).split()).lower()
    if "@" not in plain and "%" in plain:
        plain = unquote(unquote(plain))
    if named := _NAMED.fullmatch(plain):
        plain = named[1]
    if linked := _MAILTO.fullmatch(plain):
        plain = linked[1]
    if "@" in plain:
        plain = _AROUND_SIGNS.sub(r"\1", _COMMENT.sub("", plain))
    plain = _unquoted(plain.strip().rstrip(_BEHIND))
    local, at, domain = plain.rpartition("@")
    return f"{local}{at}{_in_ascii(domain.strip('.'))}" if at else plain


def _unquoted(text: str) -> str:
    while len(text) > 1 and text[0] == text[-1] and text[0] in _QUOTES:
        text = text[1:-1].strip().rstrip(_BEHIND)
    return text


def _in_ascii(domain: str) -> str:
    if domain.isascii():
        return domain
    try:
        return idna.encode(domain, uts46=True).decode()
    except idna.IDNAError:
        return domain
