"""Each sink has one way to it: a second one would forget what the first one knows."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "mg_lakehouse"

ONE_PLACE = {
    "csv.writer": {"lake/rows_out.py"},
    "csv.DictWriter": set(),
    "rich.console.Console": {"_util/console.py"},
    "rich.markup.escape": set(),
    "MetadataValue.md": set(),
    "chat_postMessage": {"dagster/slack.py"},
    "mo.ui.table": {"serving/dashboard/charts.py"},
    "mo.ui.altair_chart": set(),
    "alt.Chart": {"serving/dashboard/charts.py"},
    "typer.echo": set(),
    "builtins.print": {"serving/sandbox/sandbox.py", "testing/s3_proxy.py"},
}
"""What writes to a sink, and the modules that may."""


def used(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Attribute):
            yield ast.unparse(node)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield f"builtins.{node.func.id}"


def test_each_sink_has_one_way_to_it() -> None:
    found: dict[str, set[str]] = {name: set() for name in ONE_PLACE}
    for module in PACKAGE.rglob("*.py"):
        for name in used(ast.parse(module.read_text())):
            for sink in ONE_PLACE:
                if name == sink or name.endswith(f".{sink}"):
                    found[sink].add(module.relative_to(PACKAGE).as_posix())
    assert found == ONE_PLACE


def test_markup_and_markdown_are_constants() -> None:
    """Rich's markup and the page's Markdown hold nothing of others; HTML holds what was made for it."""
    wrong = []
    for module in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(module.read_text())):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            marked = any(keyword.arg == "markup" and ast.unparse(keyword.value) == "True" for keyword in node.keywords)
            if (marked or ast.unparse(node.func) == "mo.md") and not isinstance(node.args[0], ast.Constant):
                wrong.append(f"{module.name}:{node.lineno}")
    assert wrong == []
