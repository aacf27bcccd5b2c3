"""Every sink against the hostile corpus and against texts made of its pieces."""

from __future__ import annotations

import io
import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mg_lakehouse._util.console import TextConsole
from mg_lakehouse._util.escaping import for_csv, for_markdown, for_page_cell, for_slack, for_terminal, visible
from mg_lakehouse_tests.util.escaping_laws import check, hides
from mg_lakehouse_tests.util.hostile import FORMULAS, HARMLESS_CELLS, HOSTILE, MOVING

_PIECES = st.one_of(
    st.sampled_from((*HOSTILE, *HARMLESS_CELLS)),
    st.sampled_from(list("=+-@'\" \t\r\n;,|<>&:_*`[]()!#~$\\1a.\u202e\x9b")),
    st.text(max_size=4),
)
TEXTS = st.lists(_PIECES, max_size=6).map("".join)


@pytest.mark.parametrize("text", [*HOSTILE, *HARMLESS_CELLS], ids=ascii)
def test_every_law_holds_of_the_corpus(text: str) -> None:
    check(text)


@given(TEXTS)
@settings(max_examples=400)
@example("-1@a.b")
@example("a;=1")
@example("a\r=1")
@example("1.")
@example("a:http://b:c:")
def test_every_law_holds_of_what_is_made_of_it(text: str) -> None:
    check(text)


@pytest.mark.faults
@given(TEXTS)
@settings(max_examples=30_000)
def test_every_law_holds_of_very_many_texts(text: str) -> None:
    check(text)


def test_what_does_not_show_is_written_out_and_nothing_else_is() -> None:
    hidden = [chr(code) for code in range(0x110000) if hides(chr(code))]
    assert len(hidden) > 2_000  # the surrogates alone
    assert [sign for sign in hidden if visible(sign) == sign] == []
    seen = {sign for code in range(0x110000) if visible(sign := chr(code)) != sign} - set(hidden)
    # Fillers, Mongolian and Khmer signs that nobody sees, and places that Unicode keeps for more of the kind.
    assert {unicodedata.category(sign) for sign in seen} <= {"Lo", "Mn", "So", "Cn"}
    assert visible("Größe 😀 ❤️ عربي naïve\u00a0x") == "Größe 😀 ❤️ عربي naïve\u00a0x"


@pytest.mark.parametrize("text", MOVING, ids=ascii)
def test_a_text_that_moves_the_terminal_stays_in_its_line(text: str) -> None:
    assert not hides(for_terminal(text)) - {"\n"}


def test_a_line_of_a_text_does_not_look_like_one_of_ours() -> None:
    assert (
        for_terminal("Parser Error\r\nLINE 1: select\t1\nError: the lake is lost")
        == "Parser Error\n  LINE 1: select 1\n  Error: the lake is lost"
    )


@pytest.mark.parametrize("cell", FORMULAS, ids=ascii)
def test_a_formula_gets_an_apostrophe(cell: str) -> None:
    assert for_csv(cell) == f"'{cell}"


@pytest.mark.parametrize("cell", HARMLESS_CELLS, ids=ascii)
def test_a_cell_that_calls_nothing_stays_to_the_letter(cell: str) -> None:
    assert for_csv(cell) == cell


def test_slack_reads_no_mention_no_link_and_no_emoji() -> None:
    assert for_slack("<!channel> & <https://e.example|bank> :tada:") == "&lt;!channel&gt; &amp; &lt;https://e.example|bank&gt; :\u2060tada:"
    assert len(for_slack("&" * 9_000)) == 5 * 499 + 1


def test_plain_text_is_plain_in_markdown() -> None:
    plain = "Job b1_news-2026 (A) of 5.00 %, 12:30: see x@y.example."
    assert for_markdown(plain) == plain
    assert for_markdown("[A/B] **x** <b> &amp; _y_") == "\\[A/B\\] \\*\\*x\\*\\* \\<b\\> \\&amp; \\_y\\_"
    assert [for_markdown(text) for text in ("- a", "1. a", "=", "+ a", "# a")] == ["\\- a", "1\\. a", "\\=", "\\+ a", "\\# a"]


def test_a_table_of_the_page_makes_no_link_and_fetches_no_picture() -> None:
    assert for_page_cell("see https://e.example/x.png, data:image/png") == "see https:\u2060//e.example/x.png, data:\u2060image/png"


@pytest.mark.parametrize("text", ["[/nope]", "[bold red]x[/]", "[link=https://evil.example]x[/link]", ":tada:", "a [b] c"])
def test_names_are_no_markup(text: str) -> None:
    printed = io.StringIO()
    console = TextConsole(file=printed, width=200)
    console.print(text)
    console.alarm("Failed", text)
    assert printed.getvalue() == f"{text}\nFailed: {text}\n"
