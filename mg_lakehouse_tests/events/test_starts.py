"""The count of items that begin in a body: right by hand, the same in both forms, and never more than the readers place."""

from __future__ import annotations

from xml.parsers import expat

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mg_lakehouse.events.item_count import count_starts, starts_of
from mg_lakehouse.events.schemas import in_arrow
from mg_lakehouse.testing.feed.feed import FeedPlan, generate
from mg_lakehouse_tests.events.frames import bundle, item, messages
from mg_lakehouse_tests.events.property_examples import examples
from mg_lakehouse_tests.events.test_plain import bodies as odd_bodies
from mg_lakehouse_tests.security.laws import assert_fast_equals_strict
from mg_lakehouse_tests.security.test_hostile_bodies import BODIES as HOSTILE

OPEN, CLICK = item("OpenActivity"), item("ClickActivity")


@pytest.mark.parametrize(
    ("body", "count"),
    [
        ("", 0),
        ("Activity>", 0),
        (bundle(), 0),
        ("<ActivityItems/>", 0),
        (bundle(OPEN, CLICK, OPEN), 3),
        (f"\ufeff\n<?xml version='1.0'?>\n<a:ActivityItems xmlns:a='u' b='>'>\n{OPEN}\n{CLICK}</a:ActivityItems>\n", 2),
        # Every container counts, and what stands beside one.
        (f"<AccountActivityResponse><RequestId>r</RequestId>{bundle(OPEN)}{OPEN}{bundle()}{bundle(CLICK, OPEN)}</AccountActivityResponse>", 4),
        (bundle(OPEN, bundle(CLICK)), 2),
        # What stands in an item is its content.
        (bundle(f"<RequestActivity><RecipientXml>{OPEN}</RecipientXml></RequestActivity>", CLICK), 2),
        (bundle("<AActivity><AActivity></AActivity><B/></AActivity>"), 1),
        (bundle(f"<!-- {OPEN} --><?x {OPEN} ?>", "<AActivity><B><![CDATA[</AActivity><BActivity>]]></B></AActivity>"), 1),
        (bundle('<AActivity b="/>"/>', "<AActivity/>", "<a:BActivity xmlns:a='<'>".replace("<'", "u'"), "</a:BActivity>"), 3),
        # Of another root nothing is known.
        (f"<Envelope>{bundle(OPEN)}</Envelope>", 0),
        # Where tags do not balance, each start begins one.
        (bundle("<AActivity><B></AActivity>", "<CActivity><D><EActivity/></CActivity>"), 2),
        (f"<ActivityItems>{OPEN}<AActivity><B><CActivity/>", 3),
        (f"<ActivityItems>{OPEN}<!-- {CLICK}", 2),
        (f"<ActivityItems><AActivity b='>{OPEN}</ActivityItems>", 1),
        ("<ActivityItems><OpenActivity <ClickActivity/></ActivityItems>", 1),
    ],
)  # fmt: skip
def test_what_begins_an_item(body: str, count: int) -> None:
    assert (count_starts(body.encode()), starts_of(in_arrow(pl.Series([body]))).to_list()) == (count, [count])


@examples(500)
@given(st.lists(odd_bodies() | HOSTILE, min_size=1, max_size=4))
@example(["<?xml?><ActivityItems/>?><ActivityItems></ActivityItems>"])
@example(["<ActivityItems><AActivity></AActivity></ActivityItems>\x0b"])
@example(["<ActivityItems\u00e9></ActivityItems>", "<ActivityItems", "<ActivityItems>", "<ActivityItems><", "<ActivityItems></"])
def test_both_forms_count_the_same(batch: list[str]) -> None:
    texts = [body.encode("utf-8", "replace").decode() for body in batch]
    assert starts_of(in_arrow(pl.Series(texts))).to_list() == [count_starts(text.encode()) for text in texts]


@examples(500)
@given(odd_bodies() | HOSTILE)
def test_of_what_is_well_formed_expat_counts_as_many(body: str) -> None:
    """An independent parser's word: children of containers whose names end in Activity."""
    text = body.lstrip("\ufeff \t\r\n").encode("utf-8", "replace")
    path: list[str] = []
    found: list[str] = []

    def start(name: str, _: object) -> None:
        local = name.rpartition(":")[2]
        if local.endswith("Activity") and path and set(path) <= {"ActivityItems", "AccountActivityResponse"}:
            found.append(local)
        path.append(local)

    parser = expat.ParserCreate("utf-8")
    parser.StartElementHandler, parser.EndElementHandler = start, lambda _: path.pop() and None
    try:
        parser.Parse(text, True)
    except expat.ExpatError:
        return
    assert count_starts(text) == len(found)


@examples(500)
@given(st.lists(odd_bodies() | HOSTILE, min_size=1, max_size=4))
def test_no_item_begins_that_the_readers_do_not_place(batch: list[str]) -> None:
    """Rejects of a whole body aside. A count that were too high would accuse the readers of what they did not do."""
    found = assert_fast_equals_strict(messages(*(body.encode("utf-8", "replace").decode() for body in batch)))
    assert found.rejected.filter(pl.col("reason") == "overlooked_items").is_empty()


def test_a_whole_feed_has_as_many_starts_as_items_were_written() -> None:
    feed = generate(FeedPlan(seed=11, events=3_000, odd=0, malformed=0))
    counts = starts_of(in_arrow(pl.Series([each.body for each in feed.bundles])))
    assert counts.to_list() == [each.items for each in feed.bundles]
