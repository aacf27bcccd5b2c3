"""Makes text of others harmless: one function for each output in which a text can become a command.

A job's name, a category, an error or a file's name is whatever its sender wrote. It is stored as received, and made harmless where it leaves: in a
terminal, a spreadsheet, Slack, Markdown, a page. JSON and Parquet run no text and get the bytes as they are. Pure; any module may use it.
"""

from __future__ import annotations

import html
import io
import json
import re
from typing import Final, TextIO, cast

__all__ = [
    "for_csv",
    "for_html",
    "for_markdown",
    "for_slack",
    "for_terminal",
    "from_csv",
    "shown_stream",
    "terminal_stream",
    "visible",
]

# Controls (C0, DEL, C1), formats (bidirectional overrides and isolates, zero width, tags), separators of lines, lone surrogates, and invisible
# fillers: Unicode's categories Cc, Cf, Zl, Zp and Cs without the visible signs of Arabic, Syriac and Kaithi, and its default ignorables without
# the selectors of an emoji's form. A test checks them against Python's tables.
_INVISIBLE: Final = (
    "\\x00-\\x1f\\x7f-\\x9f\\xad\\u034f\\u061c\\u115f\\u1160\\u17b4\\u17b5\\u180b-\\u180f\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u206f\\u2800\\u3164"
    "\\ud800-\\udfff\\ufeff\\uffa0\\ufff0-\\ufffb\\U00013430-\\U0001343f\\U0001bca0-\\U0001bca3\\U0001d173-\\U0001d17a\\U000e0000-\\U000e0fff"
)
_HIDDEN: Final = re.compile(f"[{_INVISIBLE}]")
_HIDDEN_IN_LINES: Final = re.compile(f"(?!\n)[{_INVISIBLE}]")


def visible(text: str) -> str:
    r"""Return a text in one line, with invisible characters and those that move the rest written out, such as ``\u202e``; the rest stays."""
    return _HIDDEN.sub(_written, text)


def _written(match: re.Match[str]) -> str:
    """Write a character out as JSON does, so that JSON on a terminal stays JSON."""
    return json.dumps(match.group())[1:-1]


def for_terminal(text: str) -> str:
    """Return a text for a terminal, line by line: no control reaches it, and all lines but the first are indented, so that none looks like one of ours."""
    return "\n  ".join(visible(line.replace("\t", " ")) for line in text.replace("\r\n", "\n").split("\n"))


class _Shown(io.TextIOBase):
    """A stream for people: lines stay, and invisible characters are written out."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        return self._stream.write(_HIDDEN_IN_LINES.sub(_written, text))

    def flush(self) -> None:
        self._stream.flush()


def shown_stream(stream: TextIO) -> TextIO:
    """Return a stream for people to write rows to: all but the ends of lines is written as by :func:`visible`."""
    return cast("TextIO", _Shown(stream))


def terminal_stream(stream: TextIO) -> TextIO:
    """Return the stream to write rows to: a terminal gets visible text, a file or a pipe every character as it is."""
    return shown_stream(stream) if stream.isatty() else stream


_ENTITIES: Final = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
_EMOJI: Final = re.compile(r":(?=[a-z0-9_+'-]+:)", re.IGNORECASE)
_SLACK_CHARACTERS: Final = 500
"""Limit of one text. Slack refuses a message of more than 40,000, and a refused one would be retried forever."""


def for_slack(text: str) -> str:
    """Return a text for a Slack message, cut to 500 characters: no mention, no link, no emoji.

    ``&``, ``<`` and ``>`` are escaped by https://docs.slack.dev/messaging/formatting-message-text, which disables ``<!channel>``, ``<@U1>`` and
    ``<url|text>``; a word joiner (U+2060) follows the colon that would begin an emoji. ``*_~`` and backticks have no escape: the sender sets
    ``mrkdwn=False``, and ``parse="none"`` and ``link_names=False`` for bare addresses and names.
    """
    shown = visible(text)
    cut = shown if len(shown) <= _SLACK_CHARACTERS else f"{shown[: _SLACK_CHARACTERS - 1]}…"
    return _EMOJI.sub(":\u2060", cut.translate(_ENTITIES))


# Schemes after which a viewer turns an address into a link.
_SCHEME: Final = re.compile(r"(?:https?|ftp|data|mailto):(?=\S)|\bwww(?=[.])", re.IGNORECASE)

# Only a `_` at the edge of a word marks anything, and ids are full of others.
_MARKS: Final = re.compile(r"[\\`*{}\[\]<>#|~!&$]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
_BEGIN: Final = re.compile(r"\A(\d{0,9})([-+.)=])")


def for_markdown(text: str, *, begins_line: bool = True) -> str:
    """Return a text for Markdown (CommonMark, with GitHub's additions), in one line: only marking characters are escaped, so plain text stays readable.

    A text that begins no line, such as a name within a sentence, cannot begin a list. No escape stops GitHub's additions from linking a bare
    address: a word joiner (U+2060) follows its scheme.
    """
    escaped = _SCHEME.sub("\\g<0>\u2060", _MARKS.sub(r"\\\g<0>", visible(text).strip()))
    return _BEGIN.sub(r"\1\\\2", escaped) if begins_line else escaped


def for_html(text: str) -> str:
    """Return a text for HTML, between tags or within quotes."""
    return html.escape(visible(text))


def for_page_cell(text: str) -> str:
    """Return a text for a cell of the dashboard's tables, which fetch pictures and link addresses: a word joiner (U+2060) follows the scheme."""
    return _SCHEME.sub("\\g<0>\u2060", visible(text))


# With the small and the full-width forms, which East Asian spreadsheets read as the plain ones.
_SIGNS: Final = "=+\\-@\\ufe62\\ufe63\\ufe66\\ufe6b\\uff0b\\uff0d\\uff1d\\uff20"
# A spreadsheet ignores blanks, quotes and invisible characters before the sign. NUL, tab, carriage return and line feed are in `_INVISIBLE`.
_FORMULA: Final = re.compile(rf"[\s'\"{_INVISIBLE}]*[{_SIGNS}]|'*[\x00\t\r\n]")
_ADDRESS: Final = re.compile(
    r"\+?[0-9]+|[+-]?[0-9]+(?:[.][0-9]+)?|\+[0-9(][0-9 ().-]*[0-9]|[+-][A-Za-z0-9._+-]+@[A-Za-z0-9-]+(?:[.][A-Za-z0-9-]+)+"
)
_APOSTROPHE: Final = "'"


def for_csv(cell: str) -> str:
    """Return a cell for a CSV file that no spreadsheet takes for a formula, and every program reads.

    A cell is hostile if its first sign is one of ``= + - @``, full width or not, after any blanks, quotes or invisible characters, or
    if it begins with NUL, tab or the end of a line. It gets an apostrophe in front, by OWASP's Application Security Verification Standard 1.2.10;
    :func:`from_csv` removes it. The same goes for the text after each ``;``, where a spreadsheet of a country with decimal commas begins another
    cell. Everything else stays exactly as it is.

    Not hostile, for they can call nothing, and an importer must find them in its list: a number; a phone number of ``+``, digits and ``( ) . -`` and
    blanks; an e-mail address of ``+`` or ``-``, letters, digits and ``. _ + -``. A spreadsheet may show them wrongly (it drops the plus): import such
    a column as text.
    """
    if _ADDRESS.fullmatch(cell):
        return cell
    return ";".join(f"{_APOSTROPHE}{part}" if _FORMULA.match(part) else part for part in cell.split(";"))


def from_csv(cell: str) -> str:
    """Return the cell that :func:`for_csv` was given."""
    return ";".join(part[1:] if part.startswith(_APOSTROPHE) and _FORMULA.match(part[1:]) else part for part in cell.split(";"))
