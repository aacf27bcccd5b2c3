"""The fast reading and the strict one give the same, whatever they are given, and plain bundles take the fast one."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from unittest.mock import patch

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal, assert_series_equal

from mg_lakehouse.events import flatten as flattening
from mg_lakehouse.events.catalogue import EVENTS
from mg_lakehouse.events.fast import reader
from mg_lakehouse.events.fast.reader import read_fast
from mg_lakehouse.events.strict.plain_items import plain_items
from mg_lakehouse.events.strict.reader import Item
from mg_lakehouse.events.strict.scanner import Slice, item_slices
from mg_lakehouse.testing.feed.feed import FeedPlan, generate
from mg_lakehouse.testing.samples import samples
from mg_lakehouse_tests.events.frames import bundle, flat, item, messages
from mg_lakehouse_tests.events.property_examples import examples
from mg_lakehouse_tests.events.written import written_body
from mg_lakehouse_tests.security.laws import assert_fast_equals_strict, assert_same_frames, flatten_strictly

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
@example([bundle("<a:B:>", "<OpenActivity/>")])  # a local name that is empty is a name all the same
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


@examples(800)
@given(st.lists(st.integers(0, 2**32).map(written_body), min_size=1, max_size=6))
def test_every_construct_of_xml_is_read_the_same_both_ways(batch: list[str]) -> None:
    assert_same(batch)


@examples(300)
@given(st.lists(bodies() | st.integers(0, 2**32).map(written_body), min_size=1, max_size=6))
@example(
    [
        bundle(
            item("OpenActivity", RequestId=" a&amp;amp;&lt;b&gt; "), item("ContextHitActivity", RecordSize="7"), item("ContextHitActivity")
        )
    ]
)
@example([bundle(item("OpenActivity", RequestId=""), item("OpenActivity", ActivityId="")), bundle(item("NewActivity")), "", bundle()])
def test_without_a_compiler_the_same_is_read(batch: list[str]) -> None:
    with patch.object(reader, "machine", None):
        assert read_fast(messages(*batch)["body"]) is reader.NOTHING_READ_FAST
        found = flat(*batch)
    assert_same_frames(found, flatten_strictly(messages(*batch)))


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


def test_without_a_compiler_most_of_a_feed_is_read_by_patterns() -> None:
    """Without this, the reading by patterns could take nothing."""
    feed = generate(FeedPlan(seed=3, events=2_000, odd=0, malformed=0))
    usual = [each.body for each in feed.bundles if "<mg:" not in each.body and "<!--" not in each.body and "<?xml" not in each.body]
    assert len(usual) > 15
    assert all(plain_items(body) for body in usual if "<JobError>" not in body and "<RenderErrors>" not in body)


@pytest.mark.parametrize("name", sorted(samples()))
def test_the_documents_samples_are_read_the_same_both_ways(name: str) -> None:
    assert_same([samples()[name]])


def test_a_feed_takes_the_fast_reading() -> None:
    """Without this, the other tests would hold of a fast reading that takes nothing."""
    feed = generate(FeedPlan(seed=3, events=2_000, odd=0, malformed=0))
    batch = [each.body for each in feed.bundles]
    assert any('xmlns:mg="' in body for body in batch)
    assert any("<!--" in body for body in batch)
    assert any("/3.0/" in body for body in batch)  # without ids
    reading = read_fast(pl.Series(batch))
    assert len(batch) > 20
    assert reading.bodies.to_list() == list(range(len(batch)))
    assert reading.odd == []
    assert reading.cells == {}


def test_a_feed_with_every_oddity_and_fault_is_read_fast_nearly_all_of_it() -> None:
    feed = generate(FeedPlan(seed=3, events=4_000, odd=0.3, malformed=0.02))
    reading = read_fast(pl.Series([each.body for each in feed.bundles]))
    # Bodies without an item are read strictly.
    assert {index for index, each in enumerate(feed.bundles) if each.items} <= set(reading.bodies)
    assert sum(each.items for each in feed.bundles) == 4_000
    assert len(reading.odd) < 4_000 / 20


def placed(frames: dict[str, pl.DataFrame]) -> dict[str, list[tuple[int, int]]]:
    """Message and position of each row of some tables."""
    return {table: rows.select("message", "item_index").rows() for table, rows in frames.items()}


ONE_CHILD = "<RequestId>1</RequestId>"


@pytest.mark.parametrize(
    ("odd", "table"),
    [
        (item("NewActivity"), "unrecognized_activities"),
        (item("OpenActivity", New="x"), "opens"),
        (item("OpenActivity", New="<A>x</A> y"), "opens"),
        (item("OpenActivity", RequestId="1</RequestId><RequestId>2"), "opens"),
        (item("OpenActivity", RequestId="<A/>"), "opens"),
        (item("OpenActivity", UserAgent="&#65;<![CDATA[<]]><!-- x --> y"), "opens"),
        (item("OpenActivity").replace("<ActivityId>", "<ActivityId a='1'>"), "opens"),
        (item("OpenActivity").replace("<OpenActivity>", '<OpenActivity xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="x">'), "opens"),
        (item("OpenActivity", Étiquette="x"), "opens"),
        (item("JobErrorActivity", JobError="<ErrorCode>1</ErrorCode>"), "job_errors"),
        (item("RenderErrorActivity", RenderErrors="<RenderError><ErrorMessage>&#65;</ErrorMessage></RenderError> <RenderError/>"), "render_errors"),
        (item("ContextHitActivity", Vendor="v"), "context_misses"),
        ("<OpenActivity><Timestamp>2026-02-28T10:00:00Z</Timestamp></OpenActivity>", "opens"),
        ("<OpenActivity><!-- said --><Timestamp>2026-02-28 10:00:00+0000</Timestamp><?p?></OpenActivity>", "opens"),
    ],
)  # fmt: skip
def test_an_item_that_is_out_of_the_ordinary_is_read_fast(odd: str, table: str) -> None:
    batch = [bundle(item("SpamComplaintActivity"), odd, item("ClickActivity")), bundle(odd), bundle(item("SpamComplaintActivity"))]
    reading = read_fast(pl.Series(batch))
    assert reading.bodies.to_list() == [0, 1, 2]
    assert reading.items.to_list() == [3, 1, 1]
    assert placed(reading.rows) == {"spam_complaints": [(0, 0), (2, 0)], table: [(0, 1), (1, 0)], "clicks": [(0, 2)]}
    assert (reading.cells, reading.odd) == ({}, [])
    assert_same(batch)


@pytest.mark.parametrize(
    "odd",
    [
        item("DeliveredMessageActivity", MessageSize="+7"),
        item("DeliveredMessageActivity", MessageSize="many"),
        item("DeliveredMessageActivity", Timestamp="2026-02-28T24:00:00"),
        "<DeliveredMessageActivity/>",
    ],
)
def test_an_item_whose_values_are_written_otherwise_is_text_at_first(odd: str) -> None:
    """They are typed in bulk, as the strict reader's are, and so are those without a usable time rejected."""
    batch = [bundle(item("OpenActivity"), odd), bundle(odd, item("OpenActivity"))]
    reading = read_fast(pl.Series(batch))
    assert placed(reading.rows) == {"opens": [(0, 0), (1, 1)]}
    assert placed(reading.cells) == {"deliveries": [(0, 1), (1, 0)]}
    assert (reading.items.to_list(), reading.odd) == ([2, 2], [])
    assert_same(batch)


@pytest.mark.parametrize(
    "rare",
    [
        "<OpenActivity>text<Timestamp>2026-02-28T10:00:00Z</Timestamp></OpenActivity>",
        item("OpenActivity").replace("<ActivityId>", "<ActivityId xml:id='a'>"),
        item("OpenActivity").replace("<ActivityId>", "<ActivityId xmlns:b='relative'>"),
        item("JobErrorActivity", JobError="<Other>1</Other>"),
        item("InboundSmsActivity", SmsAddress="1", SendingSmsNumber="2"),
        item("OpenActivity").replace("</OpenActivity>", ONE_CHILD * 70 + "</OpenActivity>"),
        item("CsvRowActivity"),
    ],
)
def test_an_item_that_the_scanner_does_not_judge_costs_only_itself(rare: str) -> None:
    batch = [bundle(item("SpamComplaintActivity"), rare, item("ClickActivity")), bundle(rare), bundle(item("SpamComplaintActivity"))]
    reading = read_fast(pl.Series(batch))
    assert (reading.bodies.to_list(), reading.items.to_list()) == ([0, 1, 2], [3, 1, 1])
    assert placed(reading.rows) == {"spam_complaints": [(0, 0), (2, 0)], "clicks": [(0, 2)]}
    assert [(each.body, each.read.position, each.text) for each in reading.odd] == [(0, 1, rare), (1, 0, rare)]
    assert_same(batch)


@pytest.mark.parametrize(
    "broken",
    [
        "<OpenActivity><A></B></OpenActivity>",
        "<OpenActivity><A a=1></A></OpenActivity>",
        "<m:OpenActivity></m:OpenActivity>",
        "<OpenActivity>&x;</OpenActivity>",
        "<OpenActivity><A xml:id='1' xml:id='2'/></OpenActivity>",
        "<OpenActivity><Broken</OpenActivity>",
        "<OpenActivity><A>\x01</A></OpenActivity>",
        "<OpenActivity><A>",
    ],
)
def test_an_item_that_is_not_well_formed_costs_only_itself(broken: str) -> None:
    batch = [bundle(item("SpamComplaintActivity"), broken, item("ClickActivity")), bundle(item("ClickActivity"))]
    reading = read_fast(pl.Series(batch))
    assert (reading.bodies.to_list(), reading.items.to_list()) == ([0, 1], [3, 1])
    assert placed(reading.rows) == {"spam_complaints": [(0, 0)], "clicks": [(0, 2), (1, 0)]}
    assert [(each.body, each.read.position, each.text) for each in reading.odd] == [(0, 1, broken)]
    assert_same(batch)


def test_text_between_the_items_of_a_broken_bundle_is_kept_in_its_place() -> None:
    body = bundle(
        "one ", item("OpenActivity"), "<Foo>two</Foo>", "<OpenActivity><A></OpenActivity>", "<!-- three -->", item("ClickActivity"), " four"
    )
    reading = read_fast(pl.Series([body]))
    assert placed(reading.rows) == {"opens": [(0, 1)], "clicks": [(0, 4)]}
    assert [(each.read.position, each.read.element, each.text) for each in reading.odd] == [
        (0, None, "<ActivityItems>one "),
        (2, "Foo", "<Foo>two</Foo>"),
        (3, "OpenActivity", "<OpenActivity><A></OpenActivity>"),
        (5, None, " four</ActivityItems>"),
    ]
    assert_same([body])


def test_one_broken_item_among_many_that_are_parsed_together_is_found() -> None:
    rare = [bundle(f"<OpenActivity>{number}<Timestamp>2026-02-28T10:00:00Z</Timestamp></OpenActivity>") for number in range(600)]
    rare[123] = rare[123].replace("<Timestamp>", "<Timestamp xml:id='1' xml:id='2'>")
    reading = read_fast(pl.Series(rare))
    assert reading.bodies.to_list() == list(range(600))
    assert [each.body for each in reading.odd if each.read.position or not isinstance(each.read, Item)] == [123]
    assert sorted(each.body for each in reading.odd) == list(range(600))


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
        f"<?xml version='1.0' encoding='utf-8'?><!-- c --><?p?>{bundle(item('OpenActivity'))}<!-- c -->",
        f"<AccountActivityResponse><RequestId>1</RequestId>{bundle(item('OpenActivity'))}{bundle()}</AccountActivityResponse>",
        bundle(bundle(item("OpenActivity")), item("ClickActivity")),
        bundle(item("OpenActivity")).replace("<ActivityItems>", "<ActivityItems a='>' xmlns:a=\"urn:x\">"),
    ],
)
def test_the_usual_ways_of_writing_a_bundle_are_plain(body: str) -> None:
    reading = read_fast(pl.Series([body]))
    assert (reading.bodies.to_list(), reading.odd) == ([0], [])
    assert_same([body])


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
    bundles = bundle(*[odd] * 300), bundle(*[odd] * 299)
    assert flatten_strictly(messages(*bundles)).items == 599
    assert len(cuts) == 2
    assert flat(*bundles).items == 599
    assert len(cuts) == 2  # the fast reading has the text of each item
