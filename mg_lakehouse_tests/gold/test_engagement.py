"""How people answer: by the age of a message, link by link, and who is a machine, with numbers reckoned by hand."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

import polars as pl
import pytest

from mg_lakehouse.lake.lake import Lake
from mg_lakehouse_tests.gold.helpers import NOON, Event, append, build, event, one, table

HOUR: Final = 3_600
BROWSER: Final = "Mozilla/5.0 (Macintosh)"
JOB: Final = "b1-letter"


def mail(name: str, who: str, seconds: float = 0, **values: Any) -> Event:
    return event(name, seconds, request=JOB, recipient_id=who, email=f"{who}@corp.example", **values)


def click(who: str, seconds: float, url: str | None, **values: Any) -> Event:
    return mail("clicks", who, seconds, url=url, **{"user_agent": BROWSER} | values)


def own_click(local: str, seconds: float, url: str, **values: Any) -> Event:
    """A click of whom the address alone says who he is, in a job of its own."""
    return event("clicks", seconds, request="b1-own", email=f"{local}@corp.example", url=url, user_agent=BROWSER, **values)


SALE: Final = "https://u:p@Shop.Example/sale/summer?who=ann@corp.example#top"

FEED: Final = [
    # Sent within an hour: Ann at once, Ben half an hour later, Cat an hour later; Dan's delivery is lost, Eve bounced after all.
    mail("deliveries", "ann"),
    mail("deliveries", "ben", 1_800),
    mail("deliveries", "cat", HOUR),
    mail("deliveries", "eve"),
    mail("bounces", "eve", 60, category_code=10),
    mail("opens", "dan", 2 * HOUR, user_agent=BROWSER),
    # Ann: a machine at once, herself after exactly an hour. Ben after a day and a second. Eve's open counts for nobody.
    mail("opens", "ann", 5, user_agent="Mozilla/5.0"),
    mail("opens", "ann", HOUR, user_agent=BROWSER),
    mail("opens", "ben", 1_800 + 24 * HOUR + 1, user_agent=BROWSER),
    mail("opens", "eve", 30, user_agent=BROWSER),
    # One place with two addresses that tell people apart; a link with a name, and one with an id and a name.
    click("ann", 2 * HOUR, SALE),
    click("ben", 30 * HOUR, "https://shop.example/sale/summer?who=ben"),
    click("ben", 30 * HOUR + 60, "https://shop.example/u/ben@corp.example/x7f3", is_microsite=True),
    click("ann", 3 * HOUR, "https://shop.example/a", url_name="Buy"),
    click("cat", 3 * HOUR, "https://shop.example/b", url_name="Buy", is_microsite=True),
    click("dan", 3 * HOUR, "https://shop.example/c", url_id="id-1", url_name="Read"),
    click("eve", 3 * HOUR, None),
    # No link of its own: an id of -1 says that there is none, and a name made of an address says who.
    click("ann", 4 * HOUR, "https://shop.example/a", url_id="-1", url_name=" Buy "),
    click("ann", 5 * HOUR, "https://ben@corp.example@Shop.example:443/d", url_id="-1", url_name="For ben@corp.example"),
    click("ben", 31 * HOUR, "https://ben:pw@/d", url_id="ben%40corp.example"),
    # What is the person's own: an address encoded twice, and the local part of one as a part of a path or within a name.
    own_click("ben", HOUR, "https://shop.example/e", url_name="Profile ben%2540corp.example"),
    own_click("ben", 2 * HOUR, "https://shop.example/f", url_id="ben&#64;corp.example"),
    own_click("pat.doe", 3 * HOUR, "https://shop.example/pat.doe/home"),
    own_click("pat.doe+news", 4 * HOUR, "https://shop.example/p/hello-PAT%2Edoe", url_name="Hi pat.doe"),
    own_click("patdoe", 5 * HOUR, "https://shop.example/patdoes/home"),
    # A scanner goes for Cat's three links as she gets them.
    *(click("cat", HOUR + 1, f"https://shop.example/{path}", user_agent="Barracuda") for path in ("a", "b", "d")),
    # Of no job.
    event("clicks", request=None, url="https://shop.example/z"),
]


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    lake = Lake(str(tmp_path_factory.mktemp("engagement") / "lake"))
    append(lake, FEED)
    build(lake, select="engagement_curve link_metrics", data_tests=True)
    return lake


@pytest.mark.parametrize(
    ("age", "counts"),
    # Opened, by people, clicked, by people. Clicked: Cat's scanner at once, Ann after 2 hours, Cat herself after 2, Ben after 29 and a half.
    [(1, (1, 1, 1, 0)), (2, (1, 1, 2, 2)), (24, (1, 1, 2, 2)), (48, (2, 2, 3, 3)), (720, (2, 2, 3, 3))],
)
def test_engagement_by_the_age_of_each_message(lake: Lake, age: int, counts: tuple[int, int, int, int]) -> None:
    openers, human_openers, clickers, human_clickers = counts
    row = one(table(lake, "engagement_curve"), age_hours=age)
    assert row == {
        "request_id": JOB,
        "channel": "email",
        "age_hours": age,
        # Dan's message has no age, Eve's was not accepted.
        "aged_messages": 3,
        "openers": openers,
        "human_openers": human_openers,
        "clickers": clickers,
        "human_clickers": human_clickers,
        "opener_rate": openers / 3,
        "human_opener_rate": human_openers / 3,
        "clicker_rate": clickers / 3,
        "human_clicker_rate": human_clickers / 3,
        "complete_at": NOON + timedelta(hours=1 + age),
    }


def test_links_of_a_job(lake: Lake) -> None:
    rows = table(lake, "link_metrics").filter(pl.col("request_id") == JOB)
    found = {
        row["link"]: tuple(row[name] for name in ("click_events", "human_click_events", "unique_clickers", "unique_human_clickers"))
        for row in rows.to_dicts()
    }
    assert found == {
        "shop.example/sale/summer": (2, 2, 2, 2),
        "shop.example/u/*/*": (1, 1, 1, 1),
        "Buy": (3, 3, 2, 2),
        "id-1": (1, 1, 1, 1),
        # Eve bounced; her click says no address, and Ben's no host.
        "(none)": (2, 2, 1, 1),
        "shop.example/a": (1, 0, 1, 0),
        "shop.example/b": (1, 0, 1, 0),
        # Cat's scanner and Ann.
        "shop.example/d": (2, 1, 2, 1),
    }
    buy = one(rows, link="Buy")
    assert (buy["link_name"], buy["link_host"], buy["microsite_rate"], buy["click_share_rate"]) == ("Buy", "shop.example", 1 / 3, 3 / 13)
    assert rows.sort("click_position")["link"].to_list() == [
        "Buy",
        # Of two clicks by people each, and one by a person only; of one by a person each; of a scanner's.
        "(none)",
        "shop.example/sale/summer",
        "shop.example/d",
        "id-1",
        "shop.example/u/*/*",
        "shop.example/a",
        "shop.example/b",
    ]
    assert sorted(rows["click_position"]) == list(range(1, 9))


def test_no_link_holds_the_persons_own_part_of_an_address(lake: Lake) -> None:
    rows = table(lake, "link_metrics").filter(pl.col("request_id") == "b1-own").sort("first_clicked_at")
    assert rows.select("link", "link_name").rows() == [
        ("shop.example/e", None),
        ("shop.example/f", None),
        ("shop.example/*/home", None),
        ("shop.example/p/*", None),
        ("shop.example/patdoes/home", None),
    ]


def test_no_link_holds_a_person(lake: Lake) -> None:
    text = table(lake, "link_metrics").write_ndjson().lower()
    assert [word for word in ("ann", "ben", "corp.example", "u:p", "pw", "x7f3", "who=") if word in text] == []


def test_a_message_says_why_its_answers_are_a_machines(lake: Lake) -> None:
    messages = table(lake, "fct_messages").filter(request_id=JOB)
    assert dict(messages.select("recipient_key", "machine_reasons").rows()) == {
        "id:ann": ["prefetch_user_agent"],
        "id:ben": [],
        "id:cat": ["click_after_delivery", "many_links_at_once", "scanner_user_agent"],
        "id:dan": [],
        "id:eve": [],
    }
    assert set(messages["machine_rules_version"]) == {1}
