"""Checks the names in an ad hoc statement against the allow lists.

It walks the whole tree of DuckDB's parser. A function, a table or a kind of node that is on no list is refused, wherever it is in the tree. Tables
are those of the catalogue, the attached ones, and those that the same prompt created; so no name is ever resolved to a file or to an object of the
process.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Final, cast

from mg_lakehouse.errors import QueryError
from mg_lakehouse.location import Layer
from mg_lakehouse.serving.sandbox.allowed import EXPRESSIONS, FUNCTIONS, PARTS, SETTINGS, SHOWN, SYSTEM_TABLES, TABLE_FUNCTIONS
from mg_lakehouse.serving.sandbox.parse import Created, Statement

__all__ = ["Names", "looks_around", "require_allowed", "tables_named"]

_PLAIN: Final = re.compile(r"[^\W\d][\w $-]*")
"""A name that is neither a path nor an address. A common table expression is visible in part of its statement; elsewhere its name must not open a file."""

_MACROS: Final = frozenset({"safe_rate"})
_TABLE_MACROS: Final = frozenset({"job", "jobs_since"})
"""Macros of the catalogue."""


@dataclass(slots=True)
class Names:
    """Allowed names besides DuckDB's own, all in lower case.

    ``views`` are schema and name in the catalogue's ``database``, ``attached`` the databases of one table each. ``is_function`` says whether DuckDB
    has a function of a name: a macro must not use it, because we would take a call for the macro and DuckDB for its function. The other sets grow
    with created objects.
    """

    database: str
    views: frozenset[tuple[str, str]]
    attached: frozenset[str]
    is_function: Callable[[str], bool]
    macros: set[str] = field(default_factory=lambda: set(_MACROS))
    table_macros: set[str] = field(default_factory=lambda: set(_TABLE_MACROS))
    temporary: set[str] = field(default_factory=set)

    def add(self, created: Created) -> None:
        """Add an object that a statement created."""
        kept = self.temporary if created.kind != "macro" else self.table_macros if created.rows else self.macros
        kept.add(created.name.lower())

    def has_table(self, database: str, schema: str, table: str) -> bool:
        """Whether DuckDB finds a table or view of that name; missing parts of the name are empty."""
        if database == "" and (schema, table) in SYSTEM_TABLES:
            return True
        if database in ("", self.database) and (schema, table) in self.views:
            return True
        if table in self.temporary and (database, schema) in (("", ""), ("", "temp"), ("", "main"), ("temp", "main")):
            return True
        return table in self.attached and (database, schema) in (("", ""), ("", table), (table, "main"))


def require_allowed(statement: Statement, names: Names) -> None:
    """Refuse a statement with a name that is on no list.

    Raises:
        QueryError: it names the refused name, and a similar one that is allowed.
    """
    for query in statement.queries:
        expressions = {name.lower() for name in _expression_names(query)}
        for node, in_from in _nodes(query):
            _require_kind(node)
            if "function_name" in node:
                _require_function(node, names, in_from=in_from)
            elif node.get("type") == "BASE_TABLE":
                _require_table(node, names, expressions)
            elif node.get("type") == "SHOW_REF" and node["table_name"].lower() not in SHOWN:
                raise QueryError(
                    f"SHOW {node['table_name']} is refused: show tables, databases, schemas or variables, or describe a table."
                )
    created = statement.created
    if created is not None and created.kind == "macro" and names.is_function(created.name.lower()):
        raise QueryError(f"A macro named {created.name} is refused: DuckDB has a function of that name; choose another.")


def tables_named(statement: Statement, of_macros: Mapping[str, Iterable[tuple[Layer, str]]]) -> Iterator[tuple[Layer, str]]:
    """Yield schema and name of every table that a statement names, in lower case, and those that a named macro of the catalogue reads."""
    for query in statement.queries:
        for node, _ in _nodes(query):
            if node.get("type") == "BASE_TABLE":
                _, schema, table = _parts_of(node)
                yield cast("Layer", schema), table
            yield from of_macros.get(str(node.get("function_name", "")).lower(), ())


def looks_around(statement: Statement) -> bool:
    """Whether a statement asks which tables and columns there are."""
    nodes = (node for query in statement.queries for node, _ in _nodes(query))
    return any(
        str(node.get("function_name", "")).lower().startswith("duckdb_")
        or (node.get("type") == "SHOW_REF" and node["table_name"] != "")
        or (node.get("type") == "BASE_TABLE" and _parts_of(node)[1:] in SYSTEM_TABLES)
        for node in nodes
    )


def _nodes(query: dict[str, Any]) -> Iterator[tuple[dict[str, Any], bool]]:
    """Yield every object of a tree, and whether it is a function in a ``from``. Not recursive, because a tree may be deep."""
    waiting: list[tuple[Any, bool]] = [(query, False)]
    while waiting:
        node, in_from = waiting.pop()
        if isinstance(node, dict):
            yield node, in_from
            called = node.get("function") if node.get("type") == "TABLE_FUNCTION" else None
            waiting.extend((child, child is called) for child in node.values() if isinstance(child, dict | list))
        else:
            waiting.extend((child, False) for child in node if isinstance(child, dict | list))


def _require_kind(node: dict[str, Any]) -> None:
    kind, part = node.get("class"), node.get("type")
    if kind is not None and kind not in EXPRESSIONS:
        raise QueryError(f"An expression of the kind {kind} is refused: it is not on the list of allowed expressions.")
    if kind is None and isinstance(part, str) and part not in PARTS:
        raise QueryError(f"A part of the kind {part} is refused: it is not on the list of allowed parts.")


def _require_function(node: dict[str, Any], names: Names, *, in_from: bool) -> None:
    name = str(node["function_name"]).lower()
    if name == "current_setting" and not in_from:
        _require_setting(node)
        return
    allowed = TABLE_FUNCTIONS | names.table_macros if in_from else FUNCTIONS | names.macros
    if name not in allowed:
        kind = "table function" if in_from else "function"
        raise QueryError(f"The {kind} {name} is refused: it is not on the list of those that only compute{_like(name, allowed)}.")


def _require_setting(node: dict[str, Any]) -> None:
    """Allow ``current_setting`` only of a literal on the list: the setting may not depend on data."""
    value = node["children"][0].get("value") if len(node["children"]) == 1 else None
    name = value.get("value") if isinstance(value, dict) else None
    if not isinstance(name, str) or name.lower() not in SETTINGS:
        raise QueryError(f"That setting is refused: current_setting can be asked for {', '.join(sorted(SETTINGS))}.")


def _require_table(node: dict[str, Any], names: Names, expressions: set[str]) -> None:
    parts = _parts_of(node)
    if names.has_table(*parts) or (parts[:2] == ("", "") and parts[2] in expressions and _PLAIN.fullmatch(parts[2])):
        return
    written = ".".join(str(node[part]) for part in ("catalog_name", "schema_name", "table_name") if node[part])
    known = {*(f"{schema}.{table}" for schema, table in names.views), *names.attached, *names.temporary}
    raise QueryError(
        f"The table {written} does not exist{_like('.'.join(part for part in parts if part), known)}. "
        "Only the lake's tables, and temporary ones made from them, can be read here: `show all tables` lists them."
    )


def _parts_of(node: dict[str, Any]) -> tuple[str, str, str]:
    """Return the catalogue, schema and name that a table is named by, in lower case; empty where they are not written."""
    return str(node["catalog_name"]).lower(), str(node["schema_name"]).lower(), str(node["table_name"]).lower()


def _expression_names(query: dict[str, Any]) -> Iterator[str]:
    """Yield the names of all common table expressions in a statement."""
    for node, _ in _nodes(query):
        if isinstance(node.get("cte_map"), dict):
            yield from (str(entry["key"]) for entry in node["cte_map"]["map"])


def _like(name: str, allowed: Iterable[str]) -> str:
    close = get_close_matches(name, sorted(allowed), n=1)
    return f"; did you mean {close[0]}?" if close else ""
