"""Shows or writes the rows of a query."""

from __future__ import annotations

import shutil
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mg_lakehouse._util.escaping import shown_stream
from mg_lakehouse.cli.streams import rows_stream

if TYPE_CHECKING:  # `--help` does not pay for Arrow
    import pyarrow as pa

    from mg_lakehouse.serving.sandbox.sandbox import AdHoc

__all__ = ["QueryFormat", "answer"]

QueryFormat = Literal["table", "csv", "json", "parquet"]

_SHOWN_ROWS = 100


def answer(asked: AdHoc, statement: str, file_format: QueryFormat, output: Path | None) -> None:
    """Run statements and write the rows of the last one, to standard output or a file.

    On a terminal, invisible characters are written out; a file or a pipe gets CSV and JSON verbatim.

    Raises:
        QueryError: a statement is refused or invalid.
        PermanentError: the file cannot be written.
    """
    from mg_lakehouse.errors import ConfigurationError, QueryError  # noqa: PLC0415

    chosen: QueryFormat = file_format
    if output is not None and file_format == "table":
        suffix = output.suffix.removeprefix(".")
        chosen = "csv" if suffix not in ("json", "parquet") else suffix  # type: ignore[assignment]
    if chosen == "parquet" and output is None:
        raise ConfigurationError("Parquet cannot go to standard output: name a file with --output.")
    if chosen == "table":
        _show(asked, statement)
        return
    try:
        _write(asked.rows(statement), chosen, output)
    except (ValueError, OverflowError) as error:
        raise QueryError(f"A value cannot be written as {chosen} ({type(error).__name__}): cast it to varchar.") from error


def _write(rows: pa.RecordBatchReader, chosen: QueryFormat, output: Path | None) -> None:
    from mg_lakehouse.lake.rows_out import draft, write_csv, write_json, write_parquet  # noqa: PLC0415

    if output is None:
        with rows_stream() as stream:
            (write_json if chosen == "json" else write_csv)(rows, stream)
        return
    with draft(output) as file:
        if chosen == "parquet":
            write_parquet(rows, file)
            return
        with file.open("w", encoding="utf-8", newline="") as stream:
            (write_json if chosen == "json" else write_csv)(rows, stream)


def _show(asked: AdHoc, statement: str) -> None:
    width = shutil.get_terminal_size((120, 24)).columns if sys.stdout.isatty() else 10_000
    # DuckDB's tables are for people wherever they go, and DuckDB lets C1 controls and bidirectional overrides through.
    with redirect_stdout(shown_stream(sys.stdout)):
        asked.show(statement, max_width=width, max_rows=_SHOWN_ROWS)
