"""What holds of every text at every sink, however hostile. The fuzzer, the property tests and the corpus ask for nothing else."""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from html.parser import HTMLParser
from typing import Final

import pyarrow as pa
from markdown_it import MarkdownIt

from mg_lakehouse._util.console import TextConsole
from mg_lakehouse._util.escaping import (
    for_csv,
    for_html,
    for_markdown,
    for_page_cell,
    for_slack,
    for_terminal,
    from_csv,
    terminal_stream,
    visible,
)
from mg_lakehouse.cli.tables import plain_table
from mg_lakehouse.lake.rows_out import write_csv

__all__ = ["Terminal", "check", "hides", "is_formula"]

_SEEN_FORMATS: Final = frozenset("\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd")
"""Signs of Arabic, Syriac and Kaithi that Unicode calls formats and that are seen."""

_MARKDOWN: Final = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])


def hides(text: str) -> set[str]:
    """Characters of a text that do not show, or move others: by Python's tables."""
    return {sign for sign in text if unicodedata.category(sign) in {"Cc", "Cf", "Zl", "Zp", "Cs"} and sign not in _SEEN_FORMATS}


def is_formula(cell: str) -> bool:
    """Whether a spreadsheet may take a cell for a formula that does something, spelled out without the code under test."""
    if cell[:1] in {"\t", "\r", "\n", "\x00"}:
        return True
    first = next((sign for sign in cell if not (sign.isspace() or sign in "'\"" or hides(sign) or sign in _BLANK)), "")
    return (
        cell[:1] != "'"
        and unicodedata.normalize("NFKC", first) in {"=", "+", "-", "@"}
        and first not in _NO_SIGNS
        and not _calls_nothing(cell)
    )


_BLANK: Final = "\u3164\uffa0\u115f\u1160\u2800\u034f\u180b\u180c\u180d\u180f\u17b4\u17b5"
_NO_SIGNS: Final = "⁺₊﬩"  # superscripts and a Hebrew letter: no spreadsheet reads them as signs


_HOST: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-")


def _calls_nothing(cell: str) -> bool:
    """A number, a phone number or an address: no letter or bracket of a call is in it."""
    if not cell.isascii() or "\n" in cell:
        return False
    number = re.fullmatch(r"[+-]?\d+(\.\d+)?", cell) is not None
    phone = cell[0] == "+" and set(cell) <= set("+0123456789 ().-") and cell.count("+") == 1
    local, at, domain = cell.partition("@")
    words = local[1:].replace("+", "").replace("-", "").replace("_", "").replace(".", "")
    address = cell[0] in "+-" and at == "@" and (words.isalnum() or not words) and set(domain) <= _HOST
    return number or phone or address


class Terminal(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self) -> bool:
        return True


def check(text: str) -> None:
    """Every law of every sink."""
    _terminal(text)
    _csv(text)
    _slack(text)
    _markdown(text)
    _html(text)


def _terminal(text: str) -> None:
    shown = visible(text)
    assert not hides(shown), shown
    assert visible(shown) == shown
    if not any(hides(sign) or sign in _BLANK or unicodedata.category(sign) == "Cn" or ord(sign) >= 0xE0000 for sign in text):
        assert shown == text
    lines = for_terminal(text).split("\n")
    assert not any(map(hides, lines))
    assert all(line.startswith("  ") for line in lines[1:])
    printed = io.StringIO()
    console = TextConsole(file=printed, width=10_000)
    console.print(text, soft_wrap=True)
    console.alarm("Error", text)
    assert not hides(printed.getvalue()) - {"\n"}
    assert printed.getvalue().count("\n") == 2 * len(lines)
    assert not hides(_table(text)) - {"\n"}
    assert _table(text).count("\n") == _table("x").count("\n")
    rows = Terminal()
    terminal_stream(rows).write(text)
    assert not hides(rows.getvalue()) - {"\n"}
    file = io.StringIO()
    assert terminal_stream(file) is file


def _table(cell: str) -> str:
    printed = io.StringIO()
    table = plain_table("head")
    table.add_row(cell)
    TextConsole(file=printed, width=10_000).print(table)
    return printed.getvalue()


def _csv(text: str) -> None:
    cell = for_csv(text)
    assert from_csv(cell) == text
    assert not is_formula(cell), cell
    assert cell.replace("'", "") == text.replace("'", "")
    if any(0xD800 <= ord(sign) < 0xE000 for sign in text):
        return  # no Arrow has it
    stream = io.StringIO(newline="")
    assert write_csv(pa.table({"n": [1], "text": [text], "list": [[text]]}).to_reader(), stream) == 1
    written = stream.getvalue()
    if "\x00" not in text:
        header, row = csv.reader(io.StringIO(written, newline=""))
        assert header == ["n", "text", "list"]
        assert [row[0], from_csv(row[1])] == ["1", text]
        for cells in csv.reader(io.StringIO(written, newline=""), delimiter=";"):
            assert not any(is_formula(each) for each in cells[1:]), cells


def _slack(text: str) -> None:
    posted = for_slack(text)
    assert not set("<>") & set(posted)
    assert re.search(r"&(?!amp;|lt;|gt;)", posted) is None
    assert re.search(r":[a-z0-9_+'-]+:", posted, re.IGNORECASE) is None
    read = posted.replace("\u2060", "").replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    assert read == visible(text) or (len(read) == 500 and visible(text).startswith(read[:-1]))
    assert not hides(posted) - {"\u2060"}


def _markdown(text: str) -> None:
    escaped = for_markdown(text)
    tokens = _MARKDOWN.parse(escaped)
    if not visible(text).strip():
        assert tokens == []
        return
    assert [token.type for token in tokens] == ["paragraph_open", "inline", "paragraph_close"], escaped
    children = tokens[1].children or []
    assert {child.type for child in children} <= {"text", "text_special"}, (escaped, [child.type for child in children])
    assert "".join(child.content for child in children).replace("\u2060", "") == visible(text).strip()
    assert not hides(escaped) - {"\u2060"}
    assert re.search(r"https?:/|\bwww\.", escaped, re.IGNORECASE) is None


class _Data(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.data: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.data += [value or "" for _, value in attrs]

    def handle_data(self, data: str) -> None:
        self.data.append(data)


def _html(text: str) -> None:
    shown = visible(text)
    parser = _Data()
    parser.feed(f'<p title="{for_html(text)}">{for_html(text)}</p>')
    parser.close()
    assert parser.tags == ["p"]
    assert "".join(parser.data) == shown * 2
    cell = for_page_cell(text)
    assert cell.replace("\u2060", "") == shown
    assert re.search(r"https?://[^\s\"<>`{}|\\^]|^data:image/", cell) is None
