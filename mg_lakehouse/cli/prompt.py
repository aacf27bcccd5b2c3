"""The prompt of ``mg-lakehouse sql``: multi-line statements, with history and completion where ``prompt_toolkit`` is installed."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from mg_lakehouse._util.signals import handling
from mg_lakehouse._util.user_folders import is_ready, xdg_folder
from mg_lakehouse.errors import PermanentError
from mg_lakehouse.lake.sql import filled_in
from mg_lakehouse.serving.queries import query
from mg_lakehouse.serving.sandbox.sandbox import AdHoc

__all__ = ["run_prompt"]

_KEYWORDS: Final = ("select", "from", "where", "group by", "order by", "having", "limit", "join", "using", "with", "as", "on", "desc", "distinct", "count(*)", "describe", "summarize", "at (version => ")  # fmt: skip
_HELP: Final = (
    "A statement ends with `;`. `.tables` lists tables, `.schema TABLE` its columns, `.quit` or Ctrl-D ends. Ctrl-C stops a statement."
)

_PLAIN: Final = "Completion and history come with: pip install 'mg-lakehouse[prompt]'."


def run_prompt(asked: AdHoc, show: Callable[[str], None], say: Callable[[str], None]) -> None:
    """Read statements until the end of input. ``show`` runs one and shows its rows, ``say`` prints a text."""
    editor = _line_editor(asked.names())
    read = editor or _read_line
    say(_HELP if editor else f"{_HELP} {_PLAIN}")
    pending = ""
    while True:
        try:
            line = read("   ...> " if pending else "lake=> ")
        except KeyboardInterrupt:
            pending = ""
            continue
        except EOFError:
            return
        if not pending and line.strip().startswith("."):
            if line.strip() in (".quit", ".exit"):
                return
            statement = _dotted(line.split())
            if statement is None:
                say(_HELP)
                continue
        else:
            pending = f"{pending}\n{line}".strip()
            if not pending.endswith(";"):
                continue
            statement, pending = pending, ""
        try:
            _answer(statement, show, say)
        except KeyboardInterrupt:
            # A second Ctrl-C while the first is answered asks for the same, and would end the prompt.
            with handling(signal.SIG_IGN, signal.SIGINT):
                asked.interrupt()
                say("Stopped.")


def _answer(statement: str, show: Callable[[str], None], say: Callable[[str], None]) -> None:
    try:
        show(statement)
    except PermanentError as error:
        say(str(error))


def _read_line(prompt: str) -> str:
    """Show a prompt and return the line that was typed. ``input`` would write the prompt to the file that libraries' words to standard error go to."""
    sys.stdout.write(prompt)
    sys.stdout.flush()
    return input()


def _line_editor(names: Sequence[str]) -> Callable[[str], str] | None:
    """A function that shows a prompt and returns the line that was typed, with completion and history; none without the extra ``prompt``."""
    try:
        from prompt_toolkit import PromptSession, auto_suggest, completion, history  # noqa: PLC0415
    except ImportError:
        return None
    file = _history()
    session: PromptSession[str] = PromptSession(
        history=history.InMemoryHistory() if file is None else history.FileHistory(str(file)),
        completer=completion.WordCompleter([*_KEYWORDS, *names], ignore_case=True, pattern=None, sentence=False, WORD=True),
        auto_suggest=auto_suggest.AutoSuggestFromHistory(),
        complete_while_typing=False,
    )
    return session.prompt


def _dotted(words: list[str]) -> str | None:
    if words[0] == ".tables":
        return query("prompt/tables")
    if words[0] == ".schema" and len(words) == 2:
        layer, _, table = words[1].rpartition(".")
        return filled_in(query("prompt/columns"), {"table": table, "layer": layer or None})
    return None


def _history() -> Path | None:
    """Return this user's history file; ``None`` if there is no place for one. Nobody else may read it: a statement can contain an address."""
    folder = xdg_folder("XDG_STATE_HOME", "mg-lakehouse")
    if folder is None or not is_ready(folder):
        return None
    file = folder / "sql_history"
    try:
        file.touch(mode=0o600)
        file.chmod(0o600)
    except OSError:  # another user's
        return None
    return file
