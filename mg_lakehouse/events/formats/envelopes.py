r"""Unwraps message bodies: finds the feed's XML, plain or within an envelope, and makes it of the feed's CSV.

An SNS topic, an EventBridge rule or a pipe puts the XML into JSON, and a sender short of space into gzip and base64, one in the other. Each layer is
opened and its escapes are decoded as JSON does, never read as written: an address is not ``jos\u00e9@``. A body without XML is
rejected as a whole, in a sentence with its kind and the remedy; it never affects another message. Pure; bronze keeps bodies as received.
"""

from __future__ import annotations

import binascii
import json
import re
from typing import Any, Final, NamedTuple

import polars as pl

from mg_lakehouse.events.formats.csv import CsvRefusedError, bundle_of_csv, is_csv, is_headless_csv
from mg_lakehouse.events.formats.encodings import encoding_of
from mg_lakehouse.events.formats.unpacking import DamagedError, TooFarError, gunzipped

__all__ = ["Opened", "Unwrapped", "envelope_of", "unwrap", "unwrap_all"]

_MOST_LAYERS: Final = 16

# Nothing printable of ASCII may precede the first tag. A byte order mark in a wrong encoding and other blanks may.
_XML: Final = r"^[^!-~\x1f]*(?:<|$)"
_IS_XML: Final = re.compile(_XML)
_BLANKS: Final = "\ufeff \t\r\n"
_BASE64: Final = re.compile(r"[A-Za-z0-9+/_\-\s]{8,}={0,2}")
_GZIP: Final = "\x1f\x8b"
_BEGINS: Final = (b"<", b"{", b"[", b'"', b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufffd]")

_SNS_CONTROL: Final = ("SubscriptionConfirmation", "UnsubscribeConfirmation")

_LOAD_IT: Final = "load the object with `mg-lakehouse load`"
_AS_IT_IS: Final = "Have the bundles sent as they are, or in an envelope of SNS, SQS or EventBridge."


class Unwrapped(NamedTuple):
    """The XML of a body, and its ``envelope``, the outermost layer first as in ``eventbridge+sns`` or ``sns+csv``; ``None`` if there is none.

    With a ``refusal``, the sentence why there is no XML, ``text`` is the body.
    """

    text: str
    envelope: str | None
    refusal: str | None = None


class Opened(NamedTuple):
    """The unwrapped bodies of a batch. ``refused`` has sentences by position; ``texts`` (String) are empty there."""

    texts: pl.Series
    refused: dict[int, str]


class _RefusedError(Exception):
    """The body holds no XML; the error's text is the sentence."""


def unwrap(body: str) -> Unwrapped:
    """Return the XML that a body holds. Never raises."""
    layers: list[str] = []
    content: Any = body
    try:
        for _ in range(_MOST_LAYERS):
            if isinstance(content, str) and _IS_XML.match(content):
                return Unwrapped(content if content is body else _text(content), "+".join(layers) or None)
            layer, content = _of_text(content) if isinstance(content, str) else _of_value(content, within="eventbridge" in layers[-1:])
            layers += [layer] if layer else []
        raise _RefusedError(f"More than {_MOST_LAYERS} envelopes, one in the other. {_AS_IT_IS}")  # noqa: TRY301  one way out
    except _RefusedError as refused:
        return Unwrapped(body, "+".join(layers) or None, str(refused))


def envelope_of(body: str) -> str | None:
    """Return the name of the envelope around a body's XML; ``None`` if there is none."""
    return None if _IS_XML.match(body) else unwrap(body).envelope


def unwrap_all(bodies: pl.Series) -> Opened:
    """Unwrap the bodies (String) of a batch. If all are plain XML, as nearly always, this reads only their first characters."""
    odd = (~bodies.str.contains(_XML)).arg_true()
    if odd.is_empty():
        return Opened(bodies, {})
    opened = {index: unwrap(body) for index, body in zip(odd, bodies.gather(odd), strict=True)}
    texts = ["" if body.refusal else body.text for body in opened.values()]
    return Opened(bodies.clone().scatter(odd, texts), {index: body.refusal for index, body in opened.items() if body.refusal})


def _text(content: str) -> str:
    """Return a text as bronze takes it: without lone surrogates, which JSON can spell."""
    return content if content.isascii() else content.encode("utf-8", "replace").decode()


def _of_text(text: str) -> tuple[str | None, Any]:
    """Return the content of a text that is not XML, and the name of the layer removed."""
    stripped = text.strip(_BLANKS)
    if stripped.startswith(_GZIP):
        return "gzip", _unzipped(_bytes(stripped))
    if stripped[0] in '{["':
        value = _json(stripped)
        if value is not None:
            return ("json" if isinstance(value[0], str) else None), value[0]
    if _BASE64.fullmatch(stripped) and (data := _of_base64(stripped)) is not None:
        return ("gzip", _unzipped(data)) if data.startswith(_GZIP.encode("latin-1")) else ("base64", _decoded(data))
    if is_csv(text):
        return "csv", _of_csv(text)
    raise _RefusedError(_kind(stripped))


def _of_csv(text: str) -> str:
    try:
        return bundle_of_csv(text)
    except CsvRefusedError as error:
        raise _RefusedError(f"CSV that {error}.") from error


def _bytes(text: str) -> bytes:
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError as error:
        raise _RefusedError("A gzip whose bytes were taken for text, which destroyed it: have it sent in base64.") from error


def _unzipped(data: bytes) -> str:
    try:
        return _decoded(gunzipped(data))
    except TooFarError as error:
        raise _RefusedError("A gzip that unpacks to far more than events do, which is refused.") from error
    except DamagedError as error:
        raise _RefusedError("A gzip that is damaged or broke off: have it sent again.") from error


def _decoded(data: bytes) -> str:
    try:
        return data.decode(encoding_of(data[:256]))
    except (UnicodeDecodeError, LookupError) as error:
        raise _RefusedError("Bytes that are no text in the encoding that they declare, or in UTF-8: have them declare theirs.") from error


def _of_base64(text: str) -> bytes | None:
    """Decode base64; ``None`` if the text is not base64 or its bytes are nothing that may be XML: many words are valid base64."""
    signs = "".join(text.split()).rstrip("=").replace("-", "+").replace("_", "/")
    try:
        data = binascii.a2b_base64(signs + "=" * (-len(signs) % 4))
    except binascii.Error:
        return None
    if data.startswith(_GZIP.encode("latin-1")) or data.lstrip(b" \t\r\n").startswith(_BEGINS):
        return data
    again = data.decode("ascii", "replace").strip(_BLANKS)
    return data if _BASE64.fullmatch(again) and _of_base64(again) is not None else None


def _json(text: str) -> tuple[Any] | None:
    """Parse a text as JSON; ``None`` if it is not JSON and may be something else."""
    decoder = json.JSONDecoder(strict=False, object_pairs_hook=_object)
    try:
        value, end = decoder.raw_decode(text)
    except (ValueError, RecursionError) as error:
        if text[0] == '"' and is_csv(text):
            return None
        raise _RefusedError("JSON that is damaged, broke off or is nested too deep: have it sent again.") from error
    if not text[end:].strip():
        return (value,)
    if text[0] == '"' and is_csv(text):
        return None
    raise _RefusedError(f"Several values of JSON, one behind the other: have each sent as a message of its own. {_AS_IT_IS}")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    unique = dict(pairs)
    if len(unique) < len(pairs):
        # One of the two would be lost silently.
        raise _RefusedError(f"JSON in which a name stands twice in an object, so that it cannot be told which counts. {_AS_IT_IS}")
    return unique


def _of_value(value: Any, *, within: bool) -> tuple[str | None, Any]:
    """Return the content of a JSON value, and the name of its envelope, if it is one; ``within`` means that it is the detail of an event."""
    _refuse_what_holds_nothing(value)
    match value:
        case [only] | {"Records": [only]}:
            return None, only["Sns"] if isinstance(only, dict) and "Sns" in only else only
        case {"Message": str() as text, "Type": "Notification"} | {"Message": str() as text, "TopicArn": _}:
            return "sns", text
        case {"detail-type": _, "detail": detail}:
            return "eventbridge", detail
        case (
            {"body": str() as text, "messageId": _}
            | {"body": str() as text, "eventSource": "aws:sqs"}
            | {"Body": str() as text, "MessageId": _}
        ):
            return "sqs", text
        case dict() if within:
            texts = [text for text in value.values() if isinstance(text, str) and text.lstrip(_BLANKS).startswith("<")]
            if len(texts) == 1:
                return None, texts[0]
            raise _RefusedError(f"An event whose detail holds {len(texts)} texts of XML, and one is expected. {_AS_IT_IS}")
    raise _RefusedError(f"JSON that is no envelope and holds no XML: the feed has to be set to XML. {_AS_IT_IS}")


def _refuse_what_holds_nothing(value: Any) -> None:
    """Refuse messages of AWS that are known to hold no events, or more than one body."""
    match value:
        case [str() as kind, dict()] if kind.endswith("S3Pointer"):
            raise _RefusedError(
                f"A pointer of the SQS extended client to an object of S3, which holds the body: {_LOAD_IT}, and have messages sent without pointers."
            )
        case {"eventSource": "aws:s3"} | {"Records": [{"eventSource": "aws:s3"}, *_]} | {"detail-type": _, "source": "aws.s3"}:
            raise _RefusedError(f"A notification of an object of S3, which holds no events of the feed: {_LOAD_IT}.")
        case {"Service": "Amazon S3", "Event": "s3:TestEvent"}:
            raise _RefusedError("A test event of S3, which holds no events of the feed: nothing is to be done.")
        case {"Type": str() as kind} if kind in _SNS_CONTROL:
            raise _RefusedError(f"A {kind} of SNS, which holds no events: have whoever owns the topic confirm the subscription.")
        case [_, _, *_] | {"Records": [_, _, *_]}:
            raise _RefusedError("A list of several records in one body: have each sent as a message of its own.")


def _kind(text: str) -> str:
    """Describe a text of a kind that cannot be opened."""
    if text.startswith("PK\x03\x04"):
        return "A zip, which a body cannot carry whole: load it with `mg-lakehouse load`."
    if is_headless_csv(text):
        return "CSV without a header line: nothing says which cell is what. Have the header sent in each message, or the feed set to XML."
    if _CONTROL.search(text):
        return f"Bytes that are no text. {_AS_IT_IS}"
    return f"Text that is no XML, JSON, base64 or CSV of the feed. {_AS_IT_IS}"
