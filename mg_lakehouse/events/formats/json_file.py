"""Cuts a file of JSON into message bodies: one value a line or one behind the other, and lists of messages as AWS writes them.

A value is a body as the queue would bring it (:mod:`mg_lakehouse.events.formats.envelopes`), or holds several: ``aws sqs receive-message`` prints
``{"Messages": [...]}``, Lambda gets ``{"Records": [...]}``, and a list is a list of them. Text is read in pieces, so that memory holds one value.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

__all__ = ["DamagedJsonError", "bodies_of_json"]

_LARGEST_VALUE: Final = 64 * 2**20
"""Characters of one value, at most, which bounds the memory."""

_TOKEN: Final = re.compile(r'"(?:[^"\\]|\\.)*+"|[{}\[\]]', re.DOTALL)


class DamagedJsonError(Exception):
    """What comes next is no JSON, broke off or is too large."""


def bodies_of_json(chunks: Iterable[str]) -> Iterator[str]:
    """Yield the message bodies of a file's text, in order.

    Raises:
        DamagedJsonError: what follows cannot be read; what comes before it was yielded.
    """
    for text in _values(chunks):
        try:
            value = json.loads(text, strict=False, object_pairs_hook=_object)
        except (ValueError, RecursionError) as error:
            raise DamagedJsonError from error
        yield from _bodies(value)


def _bodies(value: Any) -> Iterator[str]:
    match value:
        case {"Messages": [*several]} | {"Records": [*several]} | [*several]:
            for each in several:
                yield from _bodies(each)
        case {"Body": str() as body} | {"messageId": _, "body": str() as body} | str(body):
            yield body
        case _:
            yield json.dumps(value, ensure_ascii=False)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    unique = dict(pairs)
    if len(unique) < len(pairs):
        raise ValueError("a name stands twice")  # one of the two would be lost silently
    return unique


def _values(chunks: Iterable[str]) -> Iterator[str]:
    """Yield the texts of the values at the top: objects, lists and strings."""
    text, at, begin, depth = "", 0, 0, 0
    for chunk in chunks:
        text, at, begin = text[begin:] + chunk, at - begin, 0
        if len(text) > _LARGEST_VALUE + len(chunk):
            raise DamagedJsonError
        open_text = _begin_of_open_text(text, at)
        for token in _TOKEN.finditer(text, at, open_text):
            if depth == 0:
                _require_blank(text[begin : token.start()])
                begin = token.start()
            depth += {"{": 1, "[": 1, "}": -1, "]": -1}.get(token[0], 0)
            if depth < 0:
                raise DamagedJsonError
            if depth == 0:
                yield text[begin : token.end()]
                begin = token.end()
        at = open_text
    _require_blank(text[begin:])


def _begin_of_open_text(text: str, at: int) -> int:
    """Return where a string begins that the text ends within; the text's length if there is none."""
    while (start := text.find('"', at)) >= 0:
        whole = _TOKEN.match(text, start)
        if whole is None:
            return start
        at = whole.end()
    return len(text)


def _require_blank(text: str) -> None:
    if text.strip("\ufeff\x1e, \t\r\n"):  # commas and RS stand between values of some programs
        raise DamagedJsonError
