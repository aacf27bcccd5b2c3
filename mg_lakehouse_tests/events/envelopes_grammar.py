"""A grammar of what carries bundles: the envelopes that are opened, in any nesting, as programs of AWS and senders write them."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Callable
from typing import Any, Final

from hypothesis import strategies as st

__all__ = ["LAYERS", "wrapped"]


def _dumps(value: Any, *, ascii_only: bool) -> str:
    return json.dumps(value, ensure_ascii=ascii_only)


def _sns(text: str) -> dict[str, Any]:
    return {
        "Type": "Notification",
        "MessageId": "5b1f",
        "TopicArn": "arn:aws:sns:us-east-1:111122223333:mg",
        "Message": text,
        "Signature": "x==",
    }


def _event(detail: Any) -> dict[str, Any]:
    return {"version": "0", "id": "5b1f", "detail-type": "feed", "source": "mg", "region": "us-east-1", "resources": [], "detail": detail}


LAYERS: Final[dict[str, tuple[str, Callable[[str], Any]]]] = {
    "sns": ("sns", _sns),
    "sns without a type": ("sns", lambda text: {"TopicArn": "a", "Message": text, "Subject": None}),
    "sns in a record of Lambda": ("sns", lambda text: {"Records": [{"EventSource": "aws:sns", "Sns": _sns(text)}]}),
    "eventbridge with a text": ("eventbridge", _event),
    "eventbridge with an object": ("eventbridge", lambda text: _event({"id": 7, "xml": text})),
    "sqs": ("sqs", lambda text: {"messageId": "1", "receiptHandle": "h", "body": text, "eventSource": "aws:sqs"}),
    "sqs in a record of Lambda": ("sqs", lambda text: {"Records": [{"messageId": "1", "body": text}]}),
    "sqs in a pipe": ("sqs", lambda text: [{"messageId": "1", "body": text}]),
    "sqs as its API answers": ("sqs", lambda text: {"MessageId": "1", "Body": text}),
    "a text of JSON": ("json", lambda text: text),
}
"""Layers of JSON: the name that each has in ``envelope``, and the value that carries a text. An object in an event carries XML only."""


def _base64(data: bytes, form: str) -> str:
    if form == "lines":
        return base64.encodebytes(data).decode()
    if form == "for addresses":
        return base64.urlsafe_b64encode(data).decode().rstrip("=")
    return base64.b64encode(data).decode()


@st.composite
def wrapped(draw: st.DrawFn, text: str) -> tuple[str, str | None]:
    """A text in some envelopes, and the names of these."""
    names: list[str] = []
    is_xml = True
    for _ in range(draw(st.integers(0, 4))):
        kind = draw(st.sampled_from([*LAYERS, "base64", "gzip"]))
        if kind == "eventbridge with an object" and not is_xml:
            kind = "eventbridge with a text"
        if kind in ("base64", "gzip"):
            data = text.encode()
            form = draw(st.sampled_from(["plain", "lines", "for addresses"]))
            text = _base64(gzip.compress(data) if kind == "gzip" else data, form)
            names.insert(0, kind)
        else:
            name, layer = LAYERS[kind]
            text = (
                draw(st.sampled_from(["", " ", "\n"]))
                + _dumps(layer(text), ascii_only=draw(st.booleans()))
                + draw(st.sampled_from(["", "\n"]))
            )
            names.insert(0, name)
        is_xml = False
    return text, "+".join(names) or None
