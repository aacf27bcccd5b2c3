"""What became of a message, by the definitions: each message below is a case, and the expected row is reckoned by hand."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import polars as pl
import pytest

from mg_lakehouse.lake.lake import Lake
from mg_lakehouse_tests.gold.helpers import NOON, Event, append, build, event, one, table

APPLE = "Mozilla/5.0"
BROWSER = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15"


def bounce(who: str, seconds: float, code: int | None, **values: Any) -> Event:
    return event("bounces", seconds, recipient_id=who, category_code=code, **values)


def delivery(who: str, seconds: float = 0, **values: Any) -> Event:
    return event("deliveries", seconds, recipient_id=who, **values)


CASES: dict[str, tuple[list[Event], dict[str, Any]]] = {
    "a delivery": ([delivery("delivered")], {"outcome": "delivered", "is_accepted": True, "bounce_category_key": None, "bounced_at": None}),
    "a bounce after the delivery": (
        [delivery("oob"), bounce("oob", 5, 22)],
        {"outcome": "bounced_after_delivery", "is_accepted": False, "bounce_category_key": "22", "bounce_class": "soft"},
    ),
    "a bounce in the delivery's own second is no later bounce": ([delivery("same"), bounce("same", 0, 10)], {"outcome": "delivered"}),
    "a bounce between two deliveries is no later bounce": (
        [delivery("twice", 0), bounce("twice", 5, 10), delivery("twice", 9)],
        {"outcome": "delivered", "delivery_events": 2, "bounce_events": 1, "bounce_class": None},
    ),
    "a deferral that was delivered in the end": (
        [bounce("defer_signals", 0, 70), delivery("defer_signals", 60)],
        {"outcome": "delivered", "deferral_events": 1, "bounce_events": 0, "first_attempted_at": NOON},
    ),
    # hard > block > soft > undetermined, whenever each came.
    "the most severe code of several": (
        [bounce("severe", 9, 22), bounce("severe", 1, 10), bounce("severe", 5, 51), bounce("severe", 20, 1)],
        {"outcome": "bounced", "bounce_category_key": "10", "bounced_at": NOON + timedelta(seconds=1), "bounce_events": 4},
    ),
    "the latest of equally severe codes": (
        [bounce("latest", 1, 50), bounce("latest", 3, 52), bounce("latest", 2, 51)],
        {"outcome": "bounced", "bounce_category_key": "52", "bounce_counts_as": "block"},
    ),
    "the greatest activity id of codes of one second": (
        [bounce("tie", 1, 20, activity_id="z2"), bounce("tie", 1, 22, activity_id="z9"), bounce("tie", 1, 24, activity_id="z5")],
        {"outcome": "bounced", "bounce_category_key": "22"},
    ),
    # The hard bounce decides, though the full mailbox answered later: the codes are of one failure, never of two.
    "the server's codes are those of the failure that decided": (
        [bounce("codes", 1, 10, details="550 5.1.1 User unknown"), bounce("codes", 9, 22, details="452 4.2.2 Mailbox full")],
        {"outcome": "bounced", "bounce_category_key": "10", "smtp_code": 550, "enhanced_status": "5.1.1"},
    ),
    "a deciding failure without a code has none of another's": (
        [bounce("codeless", 1, 22, details="452 4.2.2 Mailbox full"), bounce("codeless", 9, 10, details="No such user")],
        {"outcome": "bounced", "bounce_category_key": "10", "smtp_code": None, "enhanced_status": None},
    ),
    "a delivery leaves no codes of what was put off before": (
        [bounce("greylisted", 0, 70, details="451 4.7.1 Try again"), delivery("greylisted", 60)],
        {"outcome": "delivered", "deferral_events": 1, "smtp_code": None, "enhanced_status": None},
    ),
    "an unknown code counts as undetermined": (
        [bounce("strange", 1, 777)],
        {"outcome": "bounced", "bounce_category_key": "777", "bounce_class": "unknown", "bounce_counts_as": "undetermined"},
    ),
    "a 3.0 feed has the name of the category only": (
        [bounce("named", 1, None, category="Mailbox Full")],
        {"outcome": "bounced", "bounce_category_key": "22"},
    ),
    "a name that nobody knows is kept": (
        [bounce("text", 1, None, category="Gremlins")],
        {"bounce_category_key": "Gremlins", "bounce_class": "unknown"},
    ),
    "neither code nor name": ([bounce("nothing", 1, None)], {"bounce_category_key": "(none)", "outcome": "bounced"}),
    "an open without a delivery": (
        [event("opens", 5, recipient_id="implied")],
        {"outcome": "implied_delivery", "is_accepted": True, "seconds_to_first_open": None, "attempt_dates": []},
    ),
    "an unsubscribe without a delivery": ([event("unsubscribes", 5, recipient_id="implied2")], {"outcome": "implied_delivery"}),
    "a complaint after a bounce stays a bounce": (
        [bounce("complains", 1, 22), event("spam_complaints", 50, recipient_id="complains")],
        {"outcome": "bounced", "complaint_events": 1},
    ),
    "a suppression": (
        [bounce("suppressed", 1, 131)],
        {
            "outcome": "suppressed",
            "bounce_counts_as": "suppressed",
            "suppression_events": 1,
            "attempt_dates": [],
            "send_dates": [date(2026, 3, 10)],
        },
    ),
    "a malformed address": ([bounce("invalid", 1, 110)], {"outcome": "rejected", "bounce_class": "invalid"}),
    "a policy": ([bounce("admin", 1, 25)], {"outcome": "rejected", "bounce_class": "admin"}),
    "a render error": ([event("render_errors", 1, recipient_id="rendered")], {"outcome": "render_failed", "bounced_at": None}),
    "a deferral and nothing else": (
        [bounce("deferred", 1, 70), bounce("deferred", 99, 70)],
        {"outcome": "deferred", "bounced_at": NOON + timedelta(seconds=99)},
    ),
    # Out of order and twice over: the open is stamped before its delivery.
    "an open stamped before the delivery": (
        [event("opens", 0, recipient_id="early"), delivery("early", 30)],
        {"outcome": "delivered", "seconds_to_first_open": 0.0},
    ),
    "seconds to the first of several opens and clicks": (
        [
            delivery("quick", 0),
            event("opens", 200, recipient_id="quick", user_agent=BROWSER),
            event("opens", 60, recipient_id="quick", user_agent=APPLE),
            event("clicks", 90.5, recipient_id="quick", user_agent=BROWSER, url="https://a.example"),
        ],
        {
            "seconds_to_first_open": 60.0,
            "seconds_to_first_click": 90.5,
            "open_events": 2,
            "human_open_events": 1,
            "first_human_opened_at": NOON + timedelta(seconds=200),
        },
    ),
    "Apple's prefetch with white space is a machine's": (
        [delivery("apple"), event("opens", 9, recipient_id="apple", user_agent=f" {APPLE} ")],
        {"open_events": 1, "human_open_events": 0, "first_human_opened_at": None},
    ),
    "a missing user agent proves nothing": (
        [delivery("agentless"), event("opens", 9, recipient_id="agentless"), event("clicks", 9, recipient_id="agentless", url="u")],
        {"human_open_events": 1, "human_click_events": 1},
    ),
    "a click within three seconds of the delivery is a bot's": (
        [delivery("bot"), event("clicks", 3, recipient_id="bot", url="u"), event("clicks", 3.1, recipient_id="bot", url="u")],
        {"click_events": 2, "human_click_events": 1},
    ),
    "only the latest delivery before a click counts": (
        [delivery("again", 0), event("clicks", 50, recipient_id="again", url="u"), delivery("again", 52)],
        {"human_click_events": 1},
    ),
    # Three distinct links within 2 s of the click at 101 s: those at 100, 101 and 103. The one at 100 sees 100 and 101 only.
    "many links at once are a bot's": (
        [delivery("burst"), *(event("clicks", at, recipient_id="burst", url=f"u{at}") for at in (100, 101, 103, 200))],
        {"click_events": 4, "human_click_events": 3, "first_human_clicked_at": NOON + timedelta(seconds=100)},
    ),
    "one link many times is a person's": (
        [delivery("eager"), *(event("clicks", at, recipient_id="eager", url="u") for at in (100, 100.5, 101))],
        {"human_click_events": 3},
    ),
    "a scanner's user agent": (
        [delivery("scan"), event("clicks", 500, recipient_id="scan", url="u", user_agent="Mozilla/5.0 (compatible; BarracudaCentral)")],
        {"human_click_events": 0},
    ),
    "Gmail's image proxy fetches for a person": (
        [delivery("proxy"), event("opens", 500, recipient_id="proxy", user_agent="Mozilla/5.0 (via ggpht.com GoogleImageProxy)")],
        {"human_open_events": 1},
    ),
    "the provider is the earliest address's": (
        [delivery("moved", 0, email="Who@GMail.com "), event("opens", 9, recipient_id="moved", email="who@yahoo.fr")],
        {"recipient_domain": "gmail.com", "mailbox_provider": "gmail"},
    ),
    "a domain that is not listed": (
        [delivery("corp", email="x@corp.example")],
        {"recipient_domain": "corp.example", "mailbox_provider": "other"},
    ),
    "a hashed address": (
        [delivery("hashed", email="0beec7b5ea3f0fdbc95d0dd47f3c5bc275da8a33")],
        {"recipient_domain": None, "mailbox_provider": "unknown"},
    ),
    "days of attempts": (
        [bounce("slow", -13 * 3600, 70), bounce("slow", -12.5 * 3600, 70), delivery("slow", 13 * 3600)],
        {"attempt_dates": [date(2026, 3, 9), date(2026, 3, 11)], "outcome": "delivered"},
    ),
}


@pytest.fixture(scope="module")
def messages(tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    lake = Lake(str(tmp_path_factory.mktemp("outcomes") / "lake"))
    append(lake, [each for events, _ in CASES.values() for each in events])
    append(lake, OTHER_CHANNELS + TIES)
    build(lake, select="job_metrics_daily job_bounce_categories", data_tests=True)
    return table(lake, "fct_messages")


OTHER_CHANNELS = [
    event("mobile_push_delivery_failures", recipient_id="p1", device="d1", service="APNS", category=" transient_failure "),
    event("mobile_push_delivery_failures", recipient_id="p2", device="d2", service="FCM", category="EXPIRED"),
    event("mobile_push_delivery_failures", recipient_id="p3", device="d3", category="THROTTLED"),
    event("sms_delivery_failures", recipient_id="s1", phone="+15550001", category="JOB_CANCELLED"),
    event("sms_delivery_failures", recipient_id="s2", phone="+15550002", category="NEW_REASON"),
    event("sms_deliveries", recipient_id="s3", phone="+15550003"),
]
TIES = [
    # One address, one id: the event without the id is of the same message.
    event("deliveries", request="t-one", recipient_id="42", email="one@x.example"),
    event("opens", 60, request="t-one", email=" ONE@x.example"),
    # One address, two ids: what carries the address alone is a third message.
    event("deliveries", request="t-two", recipient_id="1", email="two@x.example"),
    event("deliveries", request="t-two", recipient_id="2", email="two@x.example"),
    event("opens", 60, request="t-two", email="two@x.example"),
    # The same address in another job ties to nothing there.
    event("deliveries", request="t-three", email="one@x.example"),
    # Nobody at all, twice: two messages.
    event("deliveries", request="t-four", activity_id="nobody-1"),
    event("deliveries", request="t-four", activity_id="nobody-2"),
    # Without a request every event is its own message, whoever it went to.
    event("deliveries", request=None, recipient_id="42", email="one@x.example", activity_id="loose-1"),
    event("opens", request=None, recipient_id="42", email="one@x.example", activity_id="loose-2"),
]


@pytest.mark.parametrize("case", CASES)
def test_a_message_is_what_its_evidence_says(messages: pl.DataFrame, case: str) -> None:
    events, expected = CASES[case]
    row = one(messages, recipient_key=f"id:{events[0].values['recipient_id']}", request_id="t06926-job")
    assert {name: row[name] for name in expected} == expected


def test_the_categories_of_push_and_sms_decide_as_codes_do(messages: pl.DataFrame) -> None:
    rows = messages.filter(pl.col("channel") != "email").sort("recipient_key")
    assert rows.select("channel", "recipient_key", "outcome", "bounce_category_key", "mailbox_provider").rows() == [
        ("push", "id:p1", "deferred", "TRANSIENT_FAILURE", "apns"),
        ("push", "id:p2", "bounced", "EXPIRED", "fcm"),
        ("push", "id:p3", "rejected", "THROTTLED", "unknown"),
        ("sms", "id:s1", "rejected", "JOB_CANCELLED", "sms"),
        ("sms", "id:s2", "bounced", "NEW_REASON", "sms"),
        ("sms", "id:s3", "delivered", None, "sms"),
    ]


def test_an_address_seen_with_one_id_is_that_recipients(messages: pl.DataFrame) -> None:
    row = one(messages, request_id="t-one")
    assert (row["recipient_key"], row["outcome"], row["open_events"]) == ("id:42", "delivered", 1)


def test_an_address_seen_with_two_ids_is_neithers(messages: pl.DataFrame) -> None:
    rows = messages.filter(request_id="t-two").sort("recipient_key")
    # HMAC-SHA256 of "two@x.example" under the key of the tests, reckoned with Python's hmac.
    assert rows["recipient_key"].to_list() == [hashed("email", "two@x.example"), "id:1", "id:2"]
    assert rows["open_events"].to_list() == [1, 0, 0]


def test_an_address_is_the_same_person_in_one_job_only(messages: pl.DataFrame) -> None:
    assert one(messages, request_id="t-three")["recipient_key"] == hashed("email", "one@x.example")


def test_events_without_any_identity_are_messages_of_their_own(messages: pl.DataFrame) -> None:
    keys = messages.filter(request_id="t-four")["recipient_key"].sort().to_list()
    assert keys == ["activity:nobody-1", "activity:nobody-2"]


def test_an_event_without_a_request_is_its_own_message(messages: pl.DataFrame) -> None:
    rows = messages.filter(pl.col("request_id").is_null()).sort("recipient_key")
    assert rows.select("recipient_key", "outcome").rows() == [("activity:loose-1", "delivered"), ("activity:loose-2", "implied_delivery")]


def hashed(kind: str, address: str) -> str:
    import hashlib
    import hmac

    from mg_lakehouse_tests.gold.helpers import PII_KEY

    return f"{kind}:{hmac.new(PII_KEY.encode(), address.encode(), hashlib.sha256).hexdigest()}"
