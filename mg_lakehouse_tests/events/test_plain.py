"""The fast reading and the strict one give the same, whatever they are given, and plain bundles take the fast one."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal, assert_series_equal

from mg_lakehouse.events import flatten as flattening
from mg_lakehouse.events.catalogue import EVENTS
from mg_lakehouse.events.fast.reader import read_fast
from mg_lakehouse.events.strict.scanner import Slice, item_slices
from mg_lakehouse.testing.feed.feed import FeedPlan, generate
from mg_lakehouse.testing.samples import samples
from mg_lakehouse_tests.events.frames import bundle, flat, item, messages
from mg_lakehouse_tests.events.property_examples import examples
from mg_lakehouse_tests.security.laws import assert_fast_equals_strict

ITEMS = [element for event in EVENTS for element in event.elements]
CHILDREN = sorted({child.partition("/")[0] for event in EVENTS for column in event.columns for child in column.elements})
COMMON = ["RequestId", "CorrelationId", "RecipientId", "AccountId", "JobCategory", "CampaignId"]
TIMES = [
    "2026-02-28T10:00:00Z",
    "2010-09-14T15:50:19.491-04:00",
    "2026-02-28T24:00:00",
    "2026-02-30T10:00:00Z",
    "yesterday",
    "",
    " 2026-02-28T10:00:00Z ",
]
TEXTS = st.sampled_from(
    ["", " ", "x", "7", " 7 ", "-7", "+7", "007", "-", "1234567890123456789", "9223372036854775808", "true", "TRUE", "0", "1", "a&amp;b", "&amp;lt;", "&lt;b&gt;", "&quot;&apos;", "é🌞", "\u00a0", "a\nb", "a\tb", "a\r\nb", "a\r", "]]", "\ufeff"]
)  # fmt: skip
ODD_TEXTS = st.sampled_from(
    ["&#65;", "&#x4C;", "&", "&x;", "&amp", "]]>", ">", "a > b", "<", "<![CDATA[x]]>", "<!-- c -->", "<?p?>", "<b>x</b>", "\x00", "\x01", "\x1f", "\x7f", "\ufffe", "\uffff"]
)  # fmt: skip
GAPS = st.sampled_from(["", "\n", "\r\n", "\n    ", " \t", "\u00a0", "text", "&amp;", "<!-- c -->", ">", "\x01"])


def child(name: str, text: str, form: str) -> str:
    """A child in one of its forms, well-formed or not."""
    forms = {
        "closed": f"<{name}>{text}</{name}>",
        "empty": f"<{name}/>",
        "spaced": f"<{name} >{text}</{name} >",
        "attribute": f'<{name} a="{text}">{text}</{name}>',
        "prefixed": f"<mg:{name}>{text}</mg:{name}>",
        "unclosed": f"<{name}>{text}",
        "unopened": f"{text}</{name}>",
        "mismatched": f"<{name}>{text}</Other>",
        "torn": f"<{name}{text}</{name}>",
        "nested": f"<{name}><{name}>{text}</{name}></{name}>",
    }
    return forms[form]


ORDINARY_FORMS = st.sampled_from(["closed"] * 8 + ["empty"])
ALL_FORMS = st.sampled_from(["closed", "empty", "spaced", "attribute", "prefixed", "unclosed", "unopened", "mismatched", "torn", "nested"])


@st.composite
def items(draw: st.DrawFn, *, odd: bool) -> str:
    """An item, plain for the most part, or with something odd in it."""
    element = draw(st.sampled_from(ITEMS[:6] if not odd else [*ITEMS, *CHILDREN, "NewActivity", "ActivityItems"]))
    texts = (TEXTS | ODD_TEXTS) if odd else TEXTS
    inside = [
        child(name, draw(texts), draw(ALL_FORMS if odd else ORDINARY_FORMS))
        for name in draw(
            st.lists(st.sampled_from([*COMMON, *(CHILDREN if odd else ["EmailAddress", "IpAddress"])]), max_size=4, unique=not odd)
        )
    ]
    if draw(st.integers(0, 9)) < 9 or not odd:
        inside.append(f"<ActivityId>{draw(st.sampled_from(['a', 'b', 'c']) if not odd else TEXTS)}</ActivityId>")
    inside.append(f"<Timestamp>{draw(st.sampled_from(TIMES))}</Timestamp>")
    gap = draw(GAPS if odd else st.sampled_from(["", "\n", "\r\n "]))
    end = draw(st.sampled_from([element] * 9 + ["OpenActivity"])) if odd else element
    return f"<{element}>{gap}{gap.join(draw(st.permutations(inside)))}{gap}</{end}>"


@st.composite
def bodies(draw: st.DrawFn) -> str:
    """A body: a bundle, more or less."""
    odd = draw(st.booleans())
    head = draw(
        st.sampled_from(
            [
                "<ActivityItems>",
                '<ActivityItems xmlns="http://messagegears.com/3.1/webService">',
                '<?xml version="1.0" encoding="UTF-8"?>\n<ActivityItems>',
                *(['<ActivityItems a="<">', '<ActivityItems xmlns="http://www.w3.org/2000/xmlns/">', "<!DOCTYPE x><ActivityItems>", "<ActivityItems><ActivityItems>", "<ActivityItems/>", "", '<mg:ActivityItems xmlns:mg="http://messagegears.com/3.1/webService">', '<mg:ActivityItems xmlns:o="http://messagegears.com/3.1/webService">', "\ufeff <ActivityItems>", '<?xml version="1.1"?><ActivityItems>', '<mg:ActivityItems xmlns:mg="u">'] if odd else []),
            ]
        )
    )  # fmt: skip
    tail = draw(st.sampled_from(["</ActivityItems>", "</ActivityItems>\n", *(["", "</mg:ActivityItems>", "</ActivityItems><x/>", "</ActivityItems></ActivityItems>", "</ActivityItems><ActivityItems></ActivityItems>", "</ActivityItems>x"] if odd else [])]))  # fmt: skip
    gap = draw(GAPS if odd else st.sampled_from(["", "\n"]))
    return head + gap + gap.join(draw(st.lists(items(odd=odd), max_size=4))) + gap + tail


def assert_same(batch: list[str]) -> None:
    assert_fast_equals_strict(messages(*batch))


@examples(400)
@given(st.lists(bodies(), min_size=1, max_size=6))
@example([bundle(item("OpenActivity", RequestId="1</RequestId><RequestId>2"), item("OpenActivity"))])
@example([bundle("<OpenActivity<ActivityId>x></ActivityId><Timestamp>2026-02-28T10:00:00Z</Timestamp></OpenActivity>")])
@example([bundle(item("OpenActivity", RequestId="a>b")), bundle(item("OpenActivity").replace("<ActivityId>", "<ActivityId"))])
@example(["<ActivityItems></ActivityItems><ActivityItems></ActivityItems>", "x", bundle(item("OpenActivity"))])
@example([f"<ActivityItems><{name}><ActivityId>a</ActivityId></{name}></ActivityItems>" for name in CHILDREN])
def test_the_fast_reading_gives_what_the_strict_one_gives(batch: list[str]) -> None:
    assert_same(batch)


@examples(200)
@given(st.lists(bodies(), min_size=1, max_size=4), st.sampled_from(["mg:", "o:"]))
def test_bundles_under_a_prefix_are_read_the_same_both_ways(batch: list[str], prefix: str) -> None:
    """All tags of a bundle with the prefix that its root binds, however odd they are."""
    declared = f'<{prefix}ActivityItems xmlns:{prefix.rstrip(":")}="http://messagegears.com/3.1/webService">'
    under = [re.sub(r"<(/?)(?=[A-Za-z])", rf"<\1{prefix}", body) for body in batch]
    assert_same([body.replace(f"<{prefix}ActivityItems>", declared, 1) for body in under])


@examples(200)
@given(st.data())
def test_a_damaged_bundle_costs_its_neighbours_nothing(data: st.DataObject) -> None:
    """Whatever a body holds, the others of its batch are read as if it were not there."""
    whole = data.draw(st.lists(st.sampled_from(list(samples().values())), min_size=1, max_size=4))
    body = data.draw(st.sampled_from(whole))
    start = data.draw(st.integers(0, len(body)))
    end = data.draw(st.integers(start, min(len(body), start + 30)))
    damaged = body[:start] + data.draw(TEXTS | ODD_TEXTS | GAPS) + body[end:]
    assert_same([*whole, damaged, *whole])


@st.composite
def times(draw: st.DrawFn) -> tuple[str, datetime, int | None]:
    """An ``xsd:dateTime``, the time that it means, and the offset in minutes that stands in it."""
    local = draw(st.datetimes(datetime(1900, 1, 2), datetime(2199, 12, 30)))  # noqa: DTZ001  a wall clock's
    digits = draw(st.text("0123456789", max_size=9))
    local = local.replace(microsecond=int(digits[:6].ljust(6, "0")))
    minutes = draw(st.none() | st.integers(-840, 840))
    zone = "" if minutes is None else "Z" if minutes == 0 else f"{'+-'[minutes < 0]}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"
    text = f"{local:%Y-%m-%dT%H:%M:%S}{'.' if digits else ''}{digits}{zone}"
    return text, (local - timedelta(minutes=minutes or 0)).replace(tzinfo=UTC), minutes


@examples(300)
@given(st.lists(times(), min_size=1, max_size=20))
@example([("2024-02-29T23:59:59.9999999-00:01", datetime(2024, 3, 1, 0, 0, 59, 999_999, UTC), -1)])
@example([("1900-03-01T00:00:00Z", datetime(1900, 3, 1, tzinfo=UTC), 0), ("2000-02-29T00:00:00", datetime(2000, 2, 29, tzinfo=UTC), None)])
def test_times_are_read_as_the_calendar_has_them(drawn: list[tuple[str, datetime, int | None]]) -> None:
    batch = [bundle(item("OpenActivity", Timestamp=text)) for text, _, _ in drawn]
    rows = read_fast(pl.Series(batch)).rows["opens"]
    assert rows.select("event_at", "utc_offset_minutes").rows() == [(at, minutes) for _, at, minutes in drawn]
    assert rows["event_date"].to_list() == [at.date() for _, at, _ in drawn]
    assert_same(batch)


NO_TIMES = st.text("0123456789-:TZ.+", min_size=15, max_size=30) | st.builds(
    lambda text, at, sign: text[:at] + sign + text[at + 1 :],
    times().map(lambda drawn: drawn[0]),
    st.integers(0, 30),
    st.sampled_from("0123456789-:TZ.+ "),
)


@examples(300)
@given(st.lists(NO_TIMES, min_size=1, max_size=20))
def test_what_is_no_time_or_hardly_one_is_read_the_same_both_ways(drawn: list[str]) -> None:
    assert_same([bundle(item("OpenActivity", Timestamp=text)) for text in drawn])


def test_a_whole_feed_is_read_the_same_both_ways() -> None:
    feed = generate(FeedPlan(seed=7, events=3_000))
    assert_same([each.body for each in feed.bundles])


@pytest.mark.parametrize("name", sorted(samples()))
def test_the_documents_samples_are_read_the_same_both_ways(name: str) -> None:
    assert_same([samples()[name]])


def test_an_ordinary_feed_takes_the_fast_reading() -> None:
    """Without this, the other tests would hold of a fast reading that takes nothing."""
    feed = generate(FeedPlan(seed=3, events=2_000, odd=0, malformed=0))
    # Comments are the generator's way to be difficult; a 3.0 feed has no ids.
    batch = [each.body for each in feed.bundles if "<!--" not in each.body and "/3.0/" not in each.body]
    assert any('xmlns:mg="' in body for body in batch)
    reading = read_fast(pl.Series(batch))
    assert len(batch) > 20
    assert reading.bodies.to_list() == list(range(len(batch)))
    # The only items that are parsed alone have an error list, are a miss that is named a hit, or of a kind that nobody knows.
    alone = {each.item.element for each in reading.odd}
    assert alone.intersection(ITEMS) <= {name for name in ITEMS if "Error" in name} | {"ContextHitActivity"}
    assert len(reading.odd) < reading.items.sum() / 10


@pytest.mark.parametrize(
    "odd",
    [
        item("NewActivity"),
        item("OpenActivity", New="x"),
        item("OpenActivity", RequestId="1</RequestId><RequestId>2"),
        item("OpenActivity", Url="&#65;"),
        item("OpenActivity").replace("<ActivityId>", "<ActivityId a='1'>"),
        item("JobErrorActivity", JobError="<ErrorCode>1</ErrorCode>"),
        item("ContextHitActivity", Vendor="v"),
        "<OpenActivity><Timestamp>2026-02-28T10:00:00Z</Timestamp></OpenActivity>",
        "<OpenActivity><!-- said --><Timestamp>2026-02-28T10:00:00Z</Timestamp></OpenActivity>",
    ],
)
def test_an_item_that_is_out_of_the_ordinary_costs_only_itself(odd: str) -> None:
    batch = [bundle(item("OpenActivity"), odd, item("ClickActivity")), bundle(odd), bundle(item("OpenActivity"))]
    reading = read_fast(pl.Series(batch))
    assert reading.bodies.to_list() == [0, 1, 2]
    assert reading.items.to_list() == [3, 1, 1]
    assert {table: rows.select("message", "item_index").rows() for table, rows in reading.rows.items()} == {
        "opens": [(0, 0), (2, 0)],
        "clicks": [(0, 2)],
    }
    assert [(each.body, each.item.position) for each in reading.odd] == [(0, 1), (1, 0)]
    assert_same(batch)


@pytest.mark.parametrize(
    "item_",
    ["<OpenActivity><A></B></OpenActivity>", "<OpenActivity><A a=1></A></OpenActivity>", "<m:OpenActivity></m:OpenActivity>", "<OpenActivity>&x;</OpenActivity>"],
)  # fmt: skip
def test_a_bundle_with_an_item_that_is_not_well_formed_is_read_strictly_as_a_whole(item_: str) -> None:
    batch = [bundle(item("OpenActivity"), item_), bundle(item("ClickActivity"))]
    assert read_fast(pl.Series(batch)).bodies.to_list() == [1]
    assert_same(batch)


@pytest.mark.parametrize(
    "body",
    [
        bundle(item("OpenActivity"), item("ClickActivity", Url="http://a.example/?x=1&amp;y=2")),
        "\ufeff\n" + bundle(item("OpenActivity")) + "\n",
        bundle(item("OpenActivity")).replace("><", ">\r\n  <"),
        '<?xml version="1.0" encoding="UTF-8"?>' + bundle(item("OpenActivity", CampaignId="")),
        bundle(item("OpenActivity")).replace("<ActivityId>", "<CampaignId/><ActivityId>"),
        bundle(item("SmsDeliveredActivity", SmsAddress="1"), item("DeliveredSmsActivity", SmsAddress="2")),
        bundle(),
    ],
)
def test_the_usual_ways_of_writing_a_bundle_are_plain(body: str) -> None:
    assert read_fast(pl.Series([body])).bodies.to_list() == [0]


def test_a_fault_of_the_fast_reading_costs_speed_and_no_message(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    batch = list(samples().values())
    whole = flat(*batch)

    def fail(_: pl.Series) -> None:
        raise pl.exceptions.OutOfBoundsError("secret@example.com")

    monkeypatch.setattr(flattening, "read_fast", fail)
    strict = flat(*batch)
    for table, rows in whole.tables.items():
        assert_frame_equal(strict.tables[table], rows)
    assert list(strict.tables) == list(whole.tables)
    assert [record.message for record in caplog.records] == [
        "The fast path failed on 17 messages (OutOfBoundsError); the strict reader reads them instead."
    ]


def test_a_batch_is_the_same_in_one_chunk_and_in_many(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = [each.body for each in generate(FeedPlan(seed=5, events=1_500)).bundles]
    whole = flat(*batch)
    monkeypatch.setattr(flattening, "_CHUNK_BYTES", 10_000)
    assert messages(*batch)["body"].str.len_bytes().sum() > 100_000
    parts = flat(*batch)
    assert_series_equal(parts.items_of, whole.items_of)
    assert_frame_equal(parts.rejected, whole.rejected)
    assert list(parts.tables) == list(whole.tables)
    for table, rows in whole.tables.items():
        assert_frame_equal(parts.tables[table], rows)


@pytest.mark.parametrize("odd", [item("NewActivity"), "<OpenActivity><ActivityId>a</ActivityId></OpenActivity>"])
def test_a_bundle_of_many_items_whose_text_is_kept_is_cut_once(odd: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unknown items and those without a time. Cut anew for each of them, a bundle of thousands took minutes."""
    cuts: list[int] = []

    def count(body: str) -> list[Slice]:
        cuts.append(1)
        return item_slices(body)

    monkeypatch.setattr("mg_lakehouse.events.strict.reader.item_slices", count)
    flattened = flat(bundle(*[odd] * 300), bundle(*[odd] * 299))
    assert flattened.items == 599
    assert len(cuts) == 2
