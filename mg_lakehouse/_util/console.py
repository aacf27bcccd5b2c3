"""The consoles of the command line: what is printed is text, whoever wrote it. No markup in it, no emoji, no control of the terminal."""

from __future__ import annotations

from typing import Any, Final, TextIO

from rich.console import Console
from rich.text import Text

from mg_lakehouse._util.escaping import for_terminal

__all__ = ["TextConsole"]

_ALARM: Final = "bold red"


class TextConsole(Console):
    """A console of rich that prints every string as :func:`~mg_lakehouse._util.escaping.for_terminal` gives it, those of a table included.

    Markup of ours, in a text that holds nothing of others, is asked for with ``markup=True``.
    """

    def __init__(self, *, stderr: bool = False, file: TextIO | None = None, width: int | None = None) -> None:
        super().__init__(stderr=stderr, file=file, width=width, markup=False, emoji=False)

    def render_str(self, text: str, **options: Any) -> Text:
        """As rich has it, of a text that is harmless."""
        return super().render_str(for_terminal(text), **options)

    def alarm(self, label: str, text: str) -> None:
        """Print a sentence behind a label that is seen from afar."""
        self.print(Text.assemble((f"{label}:", _ALARM), " ", for_terminal(text)), highlight=False, soft_wrap=True)
