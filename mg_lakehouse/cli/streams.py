"""Standard streams: in any encoding, and without what libraries write to standard error by themselves."""

from __future__ import annotations

import codecs
import io
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final, TextIO

from mg_lakehouse._util.escaping import terminal_stream

__all__ = ["only_own_words", "rows_stream", "typed_text", "write_out_missing_characters"]

_STANDARD_ERROR: Final = 2

_WRITTEN_OUT: Final = "mg_lakehouse_written_out"
_NEAREST: Final = dict(zip("┌┬┐├┼┤└┴┘╭╮╰╯─│·•", "+++++++++++++-|.*", strict=True)) | {"…": "..."}
"""Signs of tables, by those of ASCII."""


def write_out_missing_characters() -> None:
    """Have standard output and error write out the characters that their encoding lacks: a name in Cyrillic ended a command with a traceback."""
    codecs.register_error(_WRITTEN_OUT, _written_out)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_WRITTEN_OUT)


def _written_out(error: UnicodeError) -> tuple[str, int]:
    r"""Write what cannot be encoded as the sign that is nearest to it, else as ``\u2603``. For :func:`codecs.register_error`."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    missing = error.object[error.start : error.end]
    written = (_NEAREST.get(character) or character.encode("ascii", "backslashreplace").decode() for character in missing)
    return "".join(written), error.end


@contextmanager
def rows_stream() -> Iterator[TextIO]:
    """Standard output for rows: UTF-8 where no person reads it, whatever the locale, for a character that is written out would be another value."""
    if sys.stdout.isatty():
        yield terminal_stream(sys.stdout)
        return
    sys.stdout.flush()
    with open(sys.stdout.fileno(), "w", encoding="utf-8", newline="", closefd=False) as stream:
        yield stream


def typed_text(text: str) -> str:
    """Return an argument of the command line as UTF-8, also where the locale's encoding is ASCII and Python escaped its bytes."""
    with suppress(UnicodeError):
        return os.fsencode(text).decode("utf-8")
    return text


@contextmanager
def only_own_words() -> Iterator[None]:
    """Keep from the user what libraries write to standard error themselves: a panic of Rust with its stack came before the sentence that says what to do.

    What Python writes there is shown as ever. Where the block ends in an error that is none of ours, what was kept is shown first.
    """
    try:
        own = isinstance(sys.stderr, io.TextIOWrapper) and sys.stderr.fileno() == _STANDARD_ERROR  # a line of cron may have closed it
        kept = tempfile.TemporaryFile() if own else None  # noqa: SIM115  it is closed with the block below
    except (OSError, ValueError):  # no standard error, or no place for a file
        kept = None
    if kept is None:
        yield
        return
    before = sys.stderr
    with kept, os.fdopen(os.dup(_STANDARD_ERROR), "w", encoding=before.encoding, errors=before.errors, buffering=1) as shown:
        before.flush()
        os.dup2(kept.fileno(), _STANDARD_ERROR)
        sys.stderr = shown
        try:
            yield
        except Exception:
            kept.seek(0)
            shown.write(kept.read().decode("utf-8", "backslashreplace"))
            raise
        finally:
            shown.flush()
            os.dup2(shown.fileno(), _STANDARD_ERROR)
            sys.stderr = before
