"""The consoles of the command line. They print every string as plain text: no markup, no emoji, no control of the terminal."""

from __future__ import annotations

from typing import Any, Final, TextIO

from rich.console import Console
from rich.text import Text

from mg_lakehouse._util.escaping import for_terminal

__all__ = ["TextConsole"]

_ALARM: Final = "bold red"


class TextConsole(Console):
    """A rich console that prints every string, those of a table included, through :func:`~mg_lakehouse._util.escaping.for_terminal`.

    Pass ``markup=True`` for our own markup, in a text that holds nothing of others.
    """

    def __init__(self, *, stderr: bool = False, file: TextIO | None = None, width: int | None = None) -> None:
        super().__init__(stderr=stderr, file=file, width=width, markup=False, emoji=False)

    def render_str(self, text: str, **options: Any) -> Text:
        """Render a string as rich does, made harmless first."""
        return super().render_str(for_terminal(text), **options)

    def alarm(self, label: str, text: str) -> None:
        """Print a sentence after a conspicuous label."""
        self.print(Text.assemble((f"{label}:", _ALARM), " ", for_terminal(text)), highlight=False, soft_wrap=True)
