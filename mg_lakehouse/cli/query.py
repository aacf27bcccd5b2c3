"""The commands that query the lake: ``sql`` and ``dashboard``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from mg_lakehouse.cli.output import out
from mg_lakehouse.cli.prompt import run_prompt
from mg_lakehouse.cli.rows import QueryFormat, answer
from mg_lakehouse.cli.streams import typed_text
from mg_lakehouse.errors import QueryError
from mg_lakehouse.location import Location
from mg_lakehouse.serving.dashboard.serve import serve
from mg_lakehouse.serving.sandbox.sandbox import ad_hoc
from mg_lakehouse.settings import load_settings


def sql(
    statement: Annotated[str | None, typer.Argument(help="SQL to run; by default standard input, or a prompt on a terminal.")] = None,
    file: Annotated[
        Path | None, typer.Option("--file", "-f", exists=True, dir_okay=False, help="File of statements; shows the last one's rows.")
    ] = None,
    file_format: Annotated[QueryFormat, typer.Option("--format", help="Format of the rows.")] = "table",
    output: Annotated[Path | None, typer.Option(dir_okay=False, help="File to write to, readable by its owner only.")] = None,
) -> None:
    """Query the lake in SQL: views bronze.*, silver.* and gold.*, read-only, and nothing outside the lake."""
    if file is not None:
        statement = _utf8(file.read_bytes(), str(file))
    elif statement is not None:
        statement = typed_text(statement)
    elif not sys.stdin.isatty():
        statement = _utf8(sys.stdin.buffer.read(), "Standard input")
    settings = load_settings()
    with ad_hoc(Location(settings.lake_uri), settings) as asked:
        if statement is not None:
            answer(asked, statement, file_format, output)
            return
        run_prompt(
            asked,
            lambda typed: answer(asked, typed, file_format, output),
            lambda text: out.print(text, highlight=False, soft_wrap=True),
        )


def _utf8(content: bytes, what: str) -> str:
    """Return statements as text, whatever the locale says of standard input.

    Raises:
        QueryError: they are not UTF-8.
    """
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise QueryError(f"{what} is not UTF-8 at byte {error.start:,}: save the statements as UTF-8.") from error


def dashboard(
    port: Annotated[int, typer.Option(min=1, max=65_535, help="Port of the page.")] = 2718,
    host: Annotated[str, typer.Option(help="Address to listen on; the page has no authentication.")] = "127.0.0.1",
) -> None:
    """Show jobs, bounces, the suppression list and the feed as a page that refreshes itself."""
    serve(load_settings(), out, host=host, port=port)
