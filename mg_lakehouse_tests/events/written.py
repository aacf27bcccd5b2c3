"""Bodies as nobody writes them on purpose: every construct of XML in every place, well-formed for the most part, some of it not."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Final

from mg_lakehouse.events.catalogue import EVENTS, event_of_element

__all__ = ["written_body"]

_ITEMS: Final = [
    *(element for event in EVENTS for element in event.elements),
    *("ContextHitActivity", "JobErrorActivity", "RenderErrorActivity", "SmsInboundActivity") * 2,
    *("NewActivity", "ÉtActivity", "CsvRowActivity", "Foo"),
]
_CHILDREN: Final = [
    *sorted({element.partition("/")[0] for event in EVENTS for column in event.columns for element in column.elements}),
    *(
        "RequestId",
        "CorrelationId",
        "RecipientId",
        "ActivityId",
        "AccountId",
        "New",
        "Étiquette",
        "ErrorCode",
        "RenderError",
        "ActivityItems",
    ),
]
_TEXTS: Final = ["", "x", " 7 ", "7", "true", "a&amp;b", "&lt;b&gt;", "&#65;", "&#x4C;&#xe9;", "&#x1F600;", "é🌞", " ", "a\nb", "a\r\nb", "\r", "&#13;", "&#10;x&#32;", "<![CDATA[x<y>&amp;]]>", "<![CDATA[]]>", "<![CDATA[ a\r\n\rb ]]>", "<!-- c -->", "a<!-- c -->b", "<?pi x?>", 'q"uo\\te', "\x7f", "]]", "\ufeff", "\u00a0", "-12", "1e3"]  # fmt: skip
_WRONG_TEXTS: Final = ["&nbsp;", "&", "<", "]]>", "\x01", "\ufffe", "&#0;", "&#xD800;", "&#99999999;", "<!-- a -- b -->", "<?xml x?>", "<?XML-x y?>", "<?a:b?>", "<b", "</c>", "\x00"]  # fmt: skip
_ATTRIBUTES: Final = [" a='1'", ' a="&lt;>" b=\'"\'', ' xsi:type="x"', ' xmlns:p="http://a/b"', ' xmlns="urn:x"', ' xmlns=""', ' xmlns:q="u"', ' xml:lang="en"', ' xml:space="preserve"', " \n\ta = 'x' "]  # fmt: skip
_WRONG_ATTRIBUTES: Final = [" a", " a=1", " a='1' a='2'", " a='1'b='2'", ' a="<"', ' zz:a="1"', ' xmlns:p=""', ' xmlns:xml="http://a/b"', ' xml:id="1"', ' a="&x;"', ' é="1"', "/", "  "]  # fmt: skip
_GAPS: Final = ["", "", "\n", "<!-- g -->", "<?g?>", "\r\n  "]
_WRONG_GAPS: Final = ["text", "&amp;", "<![CDATA[]]>", "<![CDATA[x]]>", "\ufeff", "\u00a0", ">", "&#32;", "</x>", "<"]
_HEADS: Final = ["", "", '<?xml version="1.0" encoding="UTF-8"?>', "<?xml version='1.0' encoding='utf-8'?>\n", "\ufeff", "<!-- h -->", "<?h?>", '<?xml version="1.0" standalone="no" ?>']  # fmt: skip
_WRONG_HEADS: Final = ['<?xml version="1.1"?>', "<!DOCTYPE x>", "x", '<?xml version="1.0" encoding="utf-16"?>', '<?xml encoding="utf-8"?>']
_TIMES: Final = [*["2026-02-28T10:00:00Z"] * 12, "2026-02-28 10:00:00", "2026-02-28 10:00:00.5+0530", "2026-02-28T10:00:00-05", "2026-02-30T10:00:00Z", "yesterday", "", " 2026-02-28T10:00:00Z ", "2026-02-28T10:00:00&#90;", "<![CDATA[2026-02-28T10:00:00Z]]>", "2026-02-28T24:00:00"]  # fmt: skip
_SPACES: Final = ' xmlns:mg="http://messagegears.com/3.1/webService" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
_DEEPEST: Final = 4


def written_body(seed: int) -> str:
    """A body for a number: of three in four, everything is well-formed."""
    rng = Random(seed)
    return _Pen(rng, rng.choice((0, 0, 0.003, 0.03))).body()


class _Pen:
    """Writes a body. ``wrong`` is the share of places with something that is not well-formed, or that nobody expects there."""

    def __init__(self, rng: Random, wrong: float) -> None:
        self.rng, self.wrong = rng, wrong

    def one(self, usual: list[str], wrong: list[str], *, often: float = 1.0) -> str:
        return self.rng.choice(wrong if self.rng.random() < often * self.wrong else usual)

    def text(self) -> str:
        return "".join(self.rng.choice(_TEXTS) for _ in range(self.rng.choice((1, 1, 1, 2, 3)))) + self.one([""], _WRONG_TEXTS)

    def attributes(self) -> str:
        return self.one(_ATTRIBUTES, _WRONG_ATTRIBUTES, often=2) if self.rng.random() < 0.25 else ""

    def gap(self) -> str:
        return self.one(_GAPS, _WRONG_GAPS)

    def prefix(self) -> str:
        return self.one(["mg:", "xsi:"], ["p:", "zz:"], often=9) if self.rng.random() < 0.07 else ""

    def joined(self, write: Callable[[], str], least: int, most: int) -> str:
        gap = self.gap()
        return gap + gap.join(write() for _ in range(self.rng.randint(least, most))) + gap

    def element(self, name: str, depth: int = 0) -> str:
        rng, prefix = self.rng, self.prefix()
        if rng.random() < 0.07:
            return f"<{prefix}{name}{self.attributes()}/>"
        inner = self.text()
        if depth < _DEEPEST and rng.random() < 0.08:
            inner = "".join(rng.choice((self.text, lambda: self.element(rng.choice("AB"), depth + 1)))() for _ in range(rng.randint(1, 3)))
        within = {"RenderErrors": ["RenderError"] * 4 + ["Foo"], "JobError": ["ErrorCode", "ErrorMessage"], "RenderError": ["ErrorCode", "ErrorMessage", "ErrorMessage", "Foo"]}.get(name)  # fmt: skip
        if within and rng.random() < 0.9:
            inner = self.joined(lambda: self.element(rng.choice(within), depth + 1), 0, 3)
        return f"<{prefix}{name}{self.attributes()}>{inner}</{prefix}{self.one([name], _CHILDREN)}{rng.choice(('', '', '', ' '))}>"

    def item(self) -> str:
        rng, prefix = self.rng, self.prefix()
        name = rng.choice(_ITEMS)
        if rng.random() < 0.02:
            return f"<{prefix}{name}{self.attributes()}/>"
        event = event_of_element(name)
        own = [element.partition("/")[0] for column in event.columns for element in column.elements] if event else _CHILDREN
        names = [
            rng.choice([*own, "RequestId", "CorrelationId", "New"] if rng.random() < 0.9 else _CHILDREN) for _ in range(rng.randint(0, 5))
        ]
        inside = [self.element(child) for child in names]
        inside += [f"<ActivityId>{rng.choice('abc')}</ActivityId>"] if rng.random() < 0.9 else []
        inside += [f"<Timestamp>{rng.choice(_TIMES)}</Timestamp>"] if rng.random() < 0.95 else []
        rng.shuffle(inside)
        children = "".join(child + self.gap() for child in inside)
        return f"<{prefix}{name}{self.attributes()}>{self.gap()}{children}</{prefix}{self.one([name], _ITEMS)}>"

    def bundle(self) -> str:
        rng = self.rng
        start = rng.choice(("", "", "mg:")) + "ActivityItems"
        spaces = rng.choice((_SPACES, _SPACES, "", f' xmlns="http://messagegears.com/3.1/webService"{_SPACES}')) + self.attributes()
        inner = self.joined(self.item, 0, 4)
        if rng.random() < 0.15:
            inner += f"<{start}>{self.item()}</{start}>{self.item()}"
        return f"<{start}{spaces}>{inner}</{start}>"

    def body(self) -> str:
        rng, body = self.rng, self.bundle()
        if rng.random() < 0.15:
            behind = rng.choice(("", self.item(), self.bundle(), self.element("Foo")))
            body = f"<AccountActivityResponse{_SPACES}>{self.gap()}{self.element('RequestId')}{body}{behind}</AccountActivityResponse>"
        body = (
            self.one(_HEADS, _WRONG_HEADS, often=3)
            + body
            + self.one(["", "", "\n", "<!-- t -->", "<?t?>"], ["x", "<x/>", "\ufeff", "\x00"], often=3)
        )
        if self.wrong and rng.random() < 0.15:
            at = rng.randrange(len(body))
            body = body[:at] + body[at + rng.randint(0, 12) :]
        if self.wrong and rng.random() < 0.05:
            body = body[: rng.randrange(len(body))]
        return body
