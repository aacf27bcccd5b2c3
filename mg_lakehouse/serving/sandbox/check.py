"""Whether what an ad hoc statement names is on the lists of what is allowed.

The tree that DuckDB's parser made is looked through as a whole: whatever has a function's name, a table's or a kind that no list has is refused, wherever
in the tree it stands. Tables are those of the catalogue, the attached ones, and what the same prompt made before; so no name is ever looked up as a
file or as something of the process.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Final

from mg_lakehouse.errors import QueryError
from mg_lakehouse.serving.sandbox.allowed import EXPRESSIONS, FUNCTIONS, PARTS, SETTINGS, SHOWN, SYSTEM_TABLES, TABLE_FUNCTIONS
from mg_lakehouse.serving.sandbox.parse import Created, Statement

__all__ = ["Names", "require_allowed"]

_PLAIN: Final = re.compile(r"[^\W\d][\w $-]*")
"""A name that is no path and no address. A common table expression is seen in a part of its statement only; elsewhere its name must not be a file's."""

_MACROS: Final = frozenset({"safe_rate"})
_TABLE_MACROS: Final = frozenset({"job", "jobs_since"})
"""Of the catalogue."""


@dataclass(slots=True)
class Names:
    """What can be named besides what DuckDB has, all in lower case.

    ``views`` are schema and name in the ``database`` of the catalogue, ``attached`` the databases of one table each. ``is_function`` says whether DuckDB has a
    function by a name: a macro must not have it, for a call would mean the one to us and the other to DuckDB. The rest grows with what is made.
    """

    database: str
    views: frozenset[tuple[str, str]]
    attached: frozenset[str]
    is_function: Callable[[str], bool]
    macros: set[str] = field(default_factory=lambda: set(_MACROS))
    table_macros: set[str] = field(default_factory=lambda: set(_TABLE_MACROS))
    temporary: set[str] = field(default_factory=set)

    def add(self, created: Created) -> None:
        """Note what a statement made."""
        kept = self.temporary if created.kind != "macro" else self.table_macros if created.rows else self.macros
        kept.add(created.name.lower())

    def has_table(self, database: str, schema: str, table: str) -> bool:
        """Whether DuckDB finds a table or view by that name, parts that are not given being empty."""
        if database == "" and (schema, table) in SYSTEM_TABLES:
            return True
        if database in ("", self.database) and (schema, table) in self.views:
            return True
        if table in self.temporary and (database, schema) in (("", ""), ("", "temp"), ("", "main"), ("temp", "main")):
            return True
        return table in self.attached and (database, schema) in (("", ""), ("", table), (table, "main"))


def require_allowed(statement: Statement, names: Names) -> None:
    """Refuse a statement that names what is on no list.

    Raises:
        QueryError: with the name, and a like one that is allowed.
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


def _nodes(query: dict[str, Any]) -> Iterator[tuple[dict[str, Any], bool]]:
    """Every object of a tree, and whether it is a function that stands in a ``from``. Not recursive, for a tree may be deep."""
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
        raise QueryError(f"An expression of the kind {kind} is refused: it is not on the list of what can be asked.")
    if kind is None and isinstance(part, str) and part not in PARTS:
        raise QueryError(f"A part of the kind {part} is refused: it is not on the list of what can be asked.")


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
    """``current_setting`` of a literal on the list: what is asked for may not depend on data."""
    value = node["children"][0].get("value") if len(node["children"]) == 1 else None
    name = value.get("value") if isinstance(value, dict) else None
    if not isinstance(name, str) or name.lower() not in SETTINGS:
        raise QueryError(f"That setting is refused: current_setting can be asked for {', '.join(sorted(SETTINGS))}.")


def _require_table(node: dict[str, Any], names: Names, expressions: set[str]) -> None:
    parts = tuple(str(node[part]).lower() for part in ("catalog_name", "schema_name", "table_name"))
    if names.has_table(*parts) or (parts[:2] == ("", "") and parts[2] in expressions and _PLAIN.fullmatch(parts[2])):
        return
    said = ".".join(str(node[part]) for part in ("catalog_name", "schema_name", "table_name") if node[part])
    known = {*(f"{schema}.{table}" for schema, table in names.views), *names.attached, *names.temporary}
    raise QueryError(
        f"The table {said} does not exist{_like('.'.join(part for part in parts if part), known)}. "
        "Only the tables of the lake can be read here, and what was made of them: `show all tables` lists them."
    )


def _expression_names(query: dict[str, Any]) -> Iterator[str]:
    """Names of common table expressions, wherever in the statement."""
    for node, _ in _nodes(query):
        if isinstance(node.get("cte_map"), dict):
            yield from (str(entry["key"]) for entry in node["cte_map"]["map"])


def _like(name: str, allowed: Iterable[str]) -> str:
    close = get_close_matches(name, sorted(allowed), n=1)
    return f"; did you mean {close[0]}?" if close else ""
