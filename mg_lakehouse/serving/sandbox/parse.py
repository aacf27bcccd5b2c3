"""Parses an ad hoc text into statements, each with its queries as DuckDB's own parser reads them.

DuckDB returns the tree of a ``select`` only. For the other useful statements (``explain``, ``create temp`` ``table``, ``view`` or ``macro``, ``set
variable``) this module reads the leading words token by token, and gives the rest to DuckDB as a query. A ``pivot`` whose columns come from the
data is two statements to DuckDB: it is parsed with made-up columns. Everything else is refused. :mod:`mg_lakehouse.serving.sandbox.check` decides
whether a parsed statement may run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

import duckdb

from mg_lakehouse.errors import QueryError

__all__ = ["Created", "Statement", "statements"]

Kind = Literal["table", "view", "macro"]

_TOKEN: Final = re.compile(rb'"(?:[^"]|"")*"|\w+|:=|.', re.DOTALL)
_NAME: Final = re.compile(rb'"(?:[^"]|"")+"|[A-Za-z_]\w*')
_LARGEST: Final = 4 * 2**20
"""Most bytes of a text. DuckDB's tree of it is about fifty times as large."""


@dataclass(frozen=True, slots=True)
class Created:
    """A temporary ``table``, ``view`` or ``macro`` that a statement creates; ``rows`` says whether a macro returns rows."""

    kind: Kind
    name: str
    rows: bool = False


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement: its ``text``, which runs, and its ``queries`` as DuckDB's parser read them."""

    text: str
    queries: tuple[dict[str, Any], ...]
    created: Created | None = None
    has_rows: bool = True


def statements(text: str, serialize: Callable[[str], str]) -> Iterator[Statement]:
    """Parse the statements of a text, one after the other. ``serialize`` is DuckDB's ``json_serialize_sql``.

    Raises:
        QueryError: a statement is not a query, or is invalid.
    """
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise QueryError("The statement cannot be encoded as UTF-8: remove the invalid characters.") from None
    if "\0" in text:
        raise QueryError("The statement contains a NUL character: remove it.")
    if size > _LARGEST:
        raise QueryError(
            f"The statement has {size:,} bytes, more than {_LARGEST:,}: put its values into a temporary table, piece by piece."
        )
    # DuckDB's own `extract_statements` rewrites pragmas on the way, and opens a file for `import database`.
    for single in _Tokens(text).between(";"):
        if _Tokens(single).word(0):
            yield _read(single, serialize)


def _read(text: str, serialize: Callable[[str], str]) -> Statement:
    tokens = _Tokens(text)
    if tokens.take("explain"):
        _ = tokens.take("analyze") or tokens.take("verbose")
        if tokens.word(0) == "(" and tokens.word(1) in ("format", "analyze"):
            tokens.parenthesised()
        return Statement(text, (_query(tokens.rest(), serialize, pivots=False),))
    if tokens.take("create"):
        tokens.take("or", "replace")
        if tokens.take("temp") or tokens.take("temporary"):
            return _read_created(text, tokens, serialize)
        raise _refused("CREATE of something that is not temporary")
    if tokens.take("set"):
        if tokens.take("variable") and tokens.name() and (tokens.take("=") or tokens.take("to")):
            return Statement(text, (_query(f"select ({tokens.rest()}\n)", serialize),), has_rows=False)
        raise _refused("SET of a setting")
    return Statement(text, (_query(text, serialize),))


def _read_created(text: str, tokens: _Tokens, serialize: Callable[[str], str]) -> Statement:
    kind: Kind | None = next((kind for kind in ("table", "view", "macro") if tokens.take(kind)), None)  # type: ignore[misc]
    if kind is None and tokens.take("function"):
        kind = "macro"
    if kind is None:
        raise _refused(f"CREATE TEMP {tokens.word(0).upper()}")
    tokens.take("if", "not", "exists")
    name = tokens.name()
    inside = tokens.parenthesised() if kind != "table" and tokens.word(0) == "(" else None
    if name is None or not tokens.take("as"):
        raise QueryError(f"A temporary {kind} is made by `create temp {kind} NAME{'(PARAMETERS)' if kind == 'macro' else ''} as ...`.")
    queries = []
    rows = kind == "macro" and tokens.take("table")
    if kind == "macro" and inside and inside.strip():
        queries.append(_query(f"select struct_pack({inside}\n)" if ":" in inside else f"select {inside}", serialize))
    body = tokens.rest()
    queries.append(_query(f"select ({body}\n)" if kind == "macro" and not rows else body, serialize))
    return Statement(text, tuple(queries), Created(kind, name, rows=rows), has_rows=False)


def _query(text: str, serialize: Callable[[str], str], *, pivots: bool = True) -> dict[str, Any]:
    """Return the tree of one query. With ``pivots``, a pivot may take its columns from the data."""
    read = _tree(text, serialize)
    if pivots and read["error"] and read["error_type"] == "not implemented":
        read = _tree(_Tokens(text).with_pivot_columns(), serialize)
    if read["error"] and read["error_type"] == "not implemented":
        if _Tokens(text).holds("pivot", "pivot_wider"):
            raise QueryError("A pivot on the values of a query, or one to explain, is refused: list its values after `in`.")
        raise _refused(_Tokens(text).word(0).upper() or "Nothing")
    if read["error"]:
        raise QueryError(_parser_says(text) or f"Parser Error: {read['error_message']}")
    if not read["statements"]:
        raise QueryError("The statement ends where a query should follow.")
    if len(read["statements"]) != 1:
        raise QueryError("Several statements in one are refused: write them one after the other, with `;` between them.")
    return dict(read["statements"][0])


def _tree(text: str, serialize: Callable[[str], str]) -> dict[str, Any]:
    try:
        return dict(json.loads(serialize(text)))
    except RecursionError:
        raise QueryError("The statement is nested too deeply: split it with `with` or a temporary table.") from None
    except duckdb.Error as error:
        raise QueryError(str(error).strip()) from None


def _parser_says(text: str) -> str | None:
    """Return the parser's error with line and position. Only for text that it refused before: for any other, more than the parser would run."""
    try:
        duckdb.extract_statements(text)
    except duckdb.ParserException as error:
        return str(error).strip()
    return None


def _refused(what: str) -> QueryError:
    return QueryError(f"{what} is refused: only queries run here. Use --output to write rows to a file, or your own DuckDB with views.sql.")


class _Tokens:
    """The tokens of a text, as DuckDB separates them from comments and white space, and the current position."""

    def __init__(self, text: str) -> None:
        self._bytes = text.encode()
        self._starts = [start for start, _ in duckdb.tokenize(text)]
        self._place = 0

    def word(self, ahead: int) -> str:
        """Return a token in lower case, a name with its quotes; empty after the last."""
        place = self._place + ahead
        if place >= len(self._starts):
            return ""
        token = _TOKEN.match(self._bytes, self._starts[place])
        return "" if token is None else token.group().decode(errors="replace").lower()

    def take(self, *words: str) -> bool:
        """Consume the words if they come next. Return whether they did."""
        taken = all(self.word(ahead) == word for ahead, word in enumerate(words))
        self._place += len(words) if taken else 0
        return taken

    def name(self) -> str | None:
        """Consume a name of one part, and return it without its quotes."""
        if self._place >= len(self._starts):
            return None
        token = _NAME.match(self._bytes, self._starts[self._place])
        if token is None or self.word(1) == ".":
            return None
        self._place += 1
        name = token.group().decode(errors="replace")
        return name[1:-1].replace('""', '"') if name.startswith('"') else name

    def parenthesised(self) -> str:
        """Consume a text in parentheses, and return the text between them."""
        begin = self._starts[self._place]
        depth = 0
        while (word := self.word(0)) != "":
            depth += (word == "(") - (word == ")")
            self._place += 1
            if depth == 0:
                return self._bytes[begin + 1 : self._starts[self._place - 1]].decode()
        raise QueryError("A parenthesis is not closed.")

    def rest(self) -> str:
        """Return the text from the current position on."""
        return "" if self._place >= len(self._starts) else self._bytes[self._starts[self._place] :].decode()

    def between(self, separator: str) -> list[str]:
        """Split the text at the tokens that equal ``separator``."""
        cuts = [start for ahead, start in enumerate(self._starts) if self.word(ahead) == separator]
        bounds = zip([0, *(cut + 1 for cut in cuts)], [*cuts, len(self._bytes)], strict=True)
        return [self._bytes[begin:end].decode() for begin, end in bounds]

    def holds(self, *words: str) -> bool:
        """Whether one of the words follows."""
        return any(self.word(ahead) in words for ahead in range(len(self._starts) - self._place))

    def with_pivot_columns(self) -> str:
        """Return the text with values inserted after each entry of a ``pivot ... on`` that has none. Nothing is removed."""
        words = [self.word(ahead) for ahead in range(len(self._starts))]
        ends = [end for place, word in enumerate(words) if word in ("pivot", "pivot_wider") for end in _entry_ends(words, place + 1)]
        text = self._bytes
        for place in sorted(set(ends), reverse=True):
            start = self._starts[place] if place < len(self._starts) else len(text)
            text = text[:start] + b"\n in ('x') " + text[start:]
        return text.decode()


_AFTER_ENTRIES: Final = frozenset({"using", "group", "order", "limit", "union", "except", "intersect", ";"})


def _entry_ends(words: list[str], begin: int) -> Iterator[int]:
    """Yield the positions at which the entries of a pivot's ``on`` without values end. The pivot begins at ``begin``."""
    depth = 0
    on = named = False
    for place in range(begin, len(words) + 1):
        word = words[place] if place < len(words) else ";"
        ends = depth == 0 and (word in _AFTER_ENTRIES or word in (",", ")", "on"))
        if ends and on and not named:
            yield place
        if ends:
            named = False
            on = word in ("on", ",") and (on or word == "on")
        if depth == 0 and (word == ")" or word in _AFTER_ENTRIES):
            return
        named = named or (depth == 0 and word == "in")
        depth += (word in ("(", "[", "{")) - (word in (")", "]", "}"))
