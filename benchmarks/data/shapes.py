"""The feed in shapes that a sender may well write: the same events, in other XML, and some that are broken.

A shape is a change of one body, given its number. It changes text, so the feed must be one without prefixes.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

import polars as pl

from benchmarks.data.feed import TO_A_MESSAGE

__all__ = ["BROKEN", "PLAIN", "WELL_FORMED", "Shape", "shaped"]

Shape = Callable[[int, str], str]

PLAIN: Final = "as benchmarked"

_END: Final = re.compile(r"</(\w+Activity)>")
_BETWEEN: Final = re.compile(r">\s*<")
_TIME: Final = re.compile("<Timestamp>[^<]*</Timestamp>")
_XSI: Final = ' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'


def shaped(feed: pl.DataFrame, shape: Shape) -> pl.DataFrame:
    """Return the feed's bundles without prefixes in a shape."""
    plain = feed.filter(~pl.col("body").str.contains("<mg:", literal=True))
    return plain.with_columns(pl.Series("body", [shape(number, body) for number, body in enumerate(plain["body"])], pl.String))


def _items(text: str, *, one_in: int = 1) -> Shape:
    """Write a text at the end of every item, or of one in so many."""

    def change(number: int, body: str) -> str:
        count = number * TO_A_MESSAGE

        def end(found: re.Match[str]) -> str:
            nonlocal count
            count += 1
            return (text if count % one_in == 0 else "") + found[0]

        return _END.sub(end, body)

    return change


def _bundles(text: str) -> Shape:
    """Write an item at the end of every bundle, with the bundle's number for its id."""
    return lambda number, body: body.replace("</ActivityItems>", text.format(number) + "</ActivityItems>")


def _replaced(old: str, new: str) -> Shape:
    """Replace what matches a pattern."""
    pattern = re.compile(old)
    return lambda _, body: pattern.sub(new, body)


def _with_xsi(shape: Shape) -> Shape:
    return lambda number, body: shape(number, body).replace("<ActivityItems", f"<ActivityItems{_XSI}", 1)


def _in_sections(_: int, body: str) -> str:
    return re.sub(r"<Url>([^<]*)</Url>", lambda found: f"<Url><![CDATA[{found[1].replace('&amp;', '&')}]]></Url>", body)


WELL_FORMED: Final[dict[str, Shape]] = {
    PLAIN: lambda _, body: body,
    "an XML declaration": lambda _, body: f"<?xml version='1.0' encoding='utf-8'?>\n{body}",
    "pretty-printed": lambda _, body: _BETWEEN.sub(">\r\n    <", body),
    "a new element in every item": _items("<DeviceType>Mobile</DeviceType>"),
    "a new element in 1 item of 10": _items("<DeviceType>Mobile</DeviceType>", one_in=10),
    "a new element with children in every item": _items("<Device><Type>Mobile</Type><Maker>A &amp; B</Maker></Device>"),
    "an empty element in every item": _items("<CampaignVersion/>"),
    "a known element twice in every item": _items("<CorrelationId/><CorrelationId/>"),
    "xsi:type on every item": _with_xsi(_replaced(r"<(\w+Activity)>", r'<\1 xsi:type="\1">')),
    "xsi:nil on an empty element of every item": _with_xsi(_items('<CampaignVersion xsi:nil="true"/>')),
    "a comment in every bundle": _replaced("(<ActivityItems[^>]*>)", r"\1<!-- batch 7 -->"),
    "a comment in every item": _items("<!-- x -->"),
    "&#39; in every agent": _replaced("<UserAgent>", "<UserAgent>it&#39;s "),
    "AccountActivityResponse around": lambda number, body: f"<AccountActivityResponse><RequestId>{number}</RequestId>{body}</AccountActivityResponse>",
    "an unknown activity in every bundle": _bundles("<VoiceActivity><ActivityId>v{}</ActivityId><Timestamp>2026-03-01T00:00:00Z</Timestamp></VoiceActivity>"),
    "an error list in every bundle": _bundles(
        "<JobErrorActivity><ActivityId>e{}</ActivityId><Timestamp>2026-03-01T00:00:00Z</Timestamp>"
        "<JobError><ErrorCode>7</ErrorCode><ErrorMessage>No template</ErrorMessage></JobError></JobErrorActivity>"
    ),
    "CDATA addresses of links": _in_sections,
    "items without ids, as in version 3.0": _replaced("<ActivityId>[^<]*</ActivityId>", ""),
    "times with a blank for the T": _replaced(r"(<Timestamp>[0-9-]{10})T", r"\1 "),
    "text beyond ASCII in every item": _replaced("<UserAgent>", "<UserAgent>Café 日本 "),
}  # fmt: skip
"""Shapes that are well-formed, by name."""

BROKEN: Final[dict[str, Shape]] = {
    "one malformed item in 100": _items("<Broken", one_in=100),
    "one malformed item in every bundle of 10": _items("<Broken", one_in=10),
    "one item without a time in every bundle of 10": lambda _, body: _TIME.sub("", body, count=1),
}  # fmt: skip
"""Shapes with items that become rejects."""
