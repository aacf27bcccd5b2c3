"""The independent reckoning on a feed small enough to reckon by hand.

One e-mail job, sent on 10 January at 3 o'clock UTC (9 January in New York), to 16 messages:

==========  =======  =================================================================  ======================
message     at       what happened (seconds after 03:00:00 where no time is given)      outcome
==========  =======  =================================================================  ======================
R1          gmail    delivered 0, opened 100, clicked 120, unsubscribed 300; the        delivered
                     click says only the address, which ties to R1
R2          gmail    delivered 0, opened 50 by Apple's prefetch                         delivered
R3          gmail    delivered 10, clicked 12: a bot's                                  delivered
R4          yahoo    delivered 0, bounced (10) on 11 January                            bounced_after_delivery
R5          gmail    bounced 1 (50) and 5 (22): the block is worse                      bounced
R6          gmail    deferred 0, delivered 1800                                         delivered
R7          gmail    deferred 0                                                         deferred
R8          gmail    opened 3600, no delivery                                           implied_delivery
R9          gmail    suppressed (131)                                                   suppressed
R10         none     invalid (110), no address                                          rejected
R11         gmail    render error                                                       render_failed
R12         gmail    delivered 0, bounced (20) 0: the same second                       delivered
R13         yahoo    delivered 0, complained 900; shares its address with R14           delivered
R14         yahoo    delivered 0                                                        delivered
the hash    yahoo    opened 500, saying only the address of R13 and R14: ties to none   implied_delivery
R15         yahoo    bounced (99), a code that the seed lacks                           bounced
==========  =======  =================================================================  ======================

Beside it: an open without a job, a job of errors only, and an SMS and a push message for the channels.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from mg_lakehouse_tests.oracle.compare import difference
from mg_lakehouse_tests.oracle.events import hashed
from mg_lakehouse_tests.oracle.gold import PRIMARY_KEYS, expected_gold
from mg_lakehouse_tests.oracle.jobs import percentile

Row = dict[str, Any]
Gold = dict[str, list[Row]]

JOB = "b01026-07bc4beb-34de-44d1-85b0-d27628a78b2c"
MOBILE = "02-d26010-f12345e6d7f8901eaf2345a67b89012b"
BROKEN = "b01126-00000000-0000-0000-0000-000000000000"
BEGIN = datetime(2026, 1, 10, 3, tzinfo=UTC)
SHARED = "both@yahoo.com"

CATEGORIES = """channel,category_key,category_code,category,class,counts_as,is_attempted,in_bounce_rate,is_permanent,must_remove,description
email,10,10,Invalid Recipient,hard,hard,true,yes,true,true,a
email,20,20,Soft Bounce,soft,soft,true,yes,false,false,b
email,22,22,Mailbox Full,soft,soft,true,yes,false,false,c
email,50,50,Mail Block,block,block,true,yes,false,false,d
email,70,70,Transient Failure,transient,deferred,true,when_settled,false,false,e
email,110,110,Invalid Email Syntax,invalid,rejected,false,no,true,false,f
email,131,131,Unsubscribe Suppression,suppressed,suppressed,false,no,,false,g
push,DAILY_CAP,,DAILY_CAP,throttled,rejected,false,no,false,false,h
sms,ADDRESS_BLOCKED,,ADDRESS_BLOCKED,block,block,true,yes,false,false,i
"""
PROVIDERS = "domain,provider,reports_complaints\ngmail.com,gmail,false\nyahoo.com,yahoo,true\n"

_COMMON = ("request_id", "correlation_id", "account_id", "recipient_id", "job_category", "campaign_id", "campaign_version")
_OTHERS = ("email_address", "sms_address", "device_id", "service", "user_agent", "url", "category", "category_code")


class _Feed:
    """Silver rows written by hand; seconds count from the job's begin."""

    def __init__(self) -> None:
        self.rows: dict[str, list[Row]] = {}
        self._count = 0

    def add(self, table: str, seconds: float, who: str | None = None, *, request_id: str | None = JOB, **values: Any) -> None:
        self._count += 1
        self.rows.setdefault(table, []).append(
            {
                **dict.fromkeys((*_COMMON, *_OTHERS)),
                "activity_id": f"a{self._count:04d}",
                "event_at": BEGIN + timedelta(seconds=seconds),
                "request_id": request_id,
                "recipient_id": who,
                **values,
            }
        )


def _gmail(name: str) -> str:
    return f"{name.lower()}@gmail.com"


def _tiny_feed() -> _Feed:
    feed = _Feed()
    feed.add("deliveries", 0, "R1", email_address="  R1@Gmail.com ", correlation_id="first")
    feed.add("opens", 100, "R1", user_agent=None)
    feed.add("clicks", 120, email_address="r1@gmail.com", url="https://a.example")
    feed.add("unsubscribes", 300, "R1")
    feed.add("deliveries", 0, "R2", email_address=_gmail("R2"), correlation_id="second")
    feed.add("opens", 50, "R2", user_agent="Mozilla/5.0")
    feed.add("deliveries", 10, "R3", email_address=_gmail("R3"))
    feed.add("clicks", 12, "R3", url="https://a.example")
    feed.add("deliveries", 0, "R4", email_address="r4@yahoo.com")
    feed.add("bounces", 86_400, "R4", category="Invalid Recipient", category_code=10)
    feed.add("bounces", 1, "R5", email_address=_gmail("R5"), category="Mail Block", category_code=50)
    feed.add("bounces", 5, "R5", category="Mailbox Full", category_code=None)
    feed.add("bounces", 0, "R6", email_address=_gmail("R6"), category_code=70)
    feed.add("deliveries", 1_800, "R6")
    feed.add("bounces", 0, "R7", email_address=_gmail("R7"), category_code=70)
    feed.add("opens", 3_600, "R8", email_address=_gmail("R8"), user_agent="a browser")
    feed.add("bounces", 0, "R9", email_address=_gmail("R9"), category_code=131)
    feed.add("bounces", 0, "R10", category_code=110)
    feed.add("render_errors", 0, "R11", email_address=_gmail("R11"))
    feed.add("deliveries", 0, "R12", email_address=_gmail("R12"))
    feed.add("bounces", 0, "R12", category_code=20)
    feed.add("deliveries", 0, "R13", email_address=SHARED)
    feed.add("spam_complaints", 900, "R13")
    feed.add("deliveries", 0, "R14", email_address=SHARED)
    feed.add("opens", 500, email_address=SHARED, user_agent="a browser")
    feed.add("bounces", 0, "R15", email_address="r15@yahoo.com", category="Greylist Policy", category_code=99)
    feed.add("opens", 700, "R1", request_id=None, email_address=_gmail("R1"), user_agent="a browser")
    feed.add("job_errors", 0)
    feed.add("job_errors", 3_600, request_id=BROKEN)
    feed.add("sms_delivery_failures", 0, "R1", request_id=MOBILE, sms_address="+12025550101", category=" address_blocked")
    feed.add("mobile_push_delivery_failures", 0, "R1", request_id=MOBILE, device_id="d1", service="APNS", category="DAILY_CAP")
    feed.add("requests", -10, "R1", request_id=MOBILE, account_id="10020030")
    return feed


def _gold(tmp_path: Path, feed: _Feed) -> Gold:
    categories, providers = tmp_path / "categories.csv", tmp_path / "providers.csv"
    categories.write_text(CATEGORIES, encoding="utf-8")
    providers.write_text(PROVIDERS, encoding="utf-8")
    as_of = datetime(2026, 1, 20, tzinfo=UTC)
    return expected_gold(feed.rows, as_of=as_of, zone="America/New_York", pii_key="k", categories=categories, providers=providers)


@pytest.fixture
def gold(tmp_path: Path) -> Gold:
    return _gold(tmp_path, _tiny_feed())


def _only(rows: list[Row], **wanted: Any) -> Row:
    found = [row for row in rows if all(row[name] == value for name, value in wanted.items())]
    assert len(found) == 1, found
    return found[0]


def test_every_outcome_is_what_the_table_above_says(gold: Gold) -> None:
    outcomes = {row["recipient_key"]: row["outcome"] for row in gold["fct_messages"] if row["request_id"] == JOB}
    assert outcomes == {
        "id:R1": "delivered",
        "id:R2": "delivered",
        "id:R3": "delivered",
        "id:R4": "bounced_after_delivery",
        "id:R5": "bounced",
        "id:R6": "delivered",
        "id:R7": "deferred",
        "id:R8": "implied_delivery",
        "id:R9": "suppressed",
        "id:R10": "rejected",
        "id:R11": "render_failed",
        "id:R12": "delivered",
        "id:R13": "delivered",
        "id:R14": "delivered",
        f"email:{hashed(SHARED, 'k')}": "implied_delivery",
        "id:R15": "bounced",
    }


def test_the_hash_of_an_address_is_the_published_hmac() -> None:
    """The value is `printf %s both@yahoo.com | openssl dgst -sha256 -hmac k`."""
    assert hashed("  Both@Yahoo.com", "k") == "a3e90bb8fb46de814b80a5c6fbb14f75661c0e3c5c01a6b74ff8e97ef97e3f53"


def test_a_message_has_its_times_its_flags_and_its_provider(gold: Gold) -> None:
    first = _only(gold["fct_messages"], recipient_key="id:R1", request_id=JOB)
    assert (first["seconds_to_first_open"], first["seconds_to_first_click"]) == (100.0, 120.0)
    assert (first["recipient_domain"], first["mailbox_provider"]) == ("gmail.com", "gmail")
    assert (first["human_open_events"], first["human_click_events"], first["unsubscribe_events"]) == (1, 1, 1)
    assert first["attempt_dates"] == first["send_dates"] == [date(2026, 1, 10)]
    prefetched = _only(gold["fct_messages"], recipient_key="id:R2", request_id=JOB)
    assert (prefetched["open_events"], prefetched["human_open_events"], prefetched["first_human_opened_at"]) == (1, 0, None)
    scanned = _only(gold["fct_messages"], recipient_key="id:R3", request_id=JOB)
    assert (scanned["click_events"], scanned["human_click_events"]) == (1, 0)
    late = _only(gold["fct_messages"], recipient_key="id:R4", request_id=JOB)
    assert (late["bounce_category_key"], late["bounce_class"], late["bounced_at"]) == ("10", "hard", BEGIN + timedelta(days=1))
    assert late["attempt_dates"] == [date(2026, 1, 10), date(2026, 1, 11)]
    worst = _only(gold["fct_messages"], recipient_key="id:R5", request_id=JOB)
    assert (worst["bounce_category_key"], worst["bounce_counts_as"], worst["bounce_events"]) == ("50", "block", 2)
    resolved = _only(gold["fct_messages"], recipient_key="id:R6", request_id=JOB)
    assert (resolved["bounce_category_key"], resolved["first_attempted_at"], resolved["deferral_events"]) == (None, BEGIN, 1)
    suppressed = _only(gold["fct_messages"], recipient_key="id:R9", request_id=JOB)
    assert (suppressed["attempt_dates"], suppressed["send_dates"]) == ([], [date(2026, 1, 10)])
    nameless = _only(gold["fct_messages"], recipient_key="id:R10", request_id=JOB)
    assert (nameless["recipient_domain"], nameless["mailbox_provider"]) == (None, "unknown")
    odd = _only(gold["fct_messages"], recipient_key="id:R15", request_id=JOB)
    assert (odd["bounce_category_key"], odd["bounce_class"], odd["bounce_counts_as"]) == ("99", "unknown", "undetermined")
    without_job = _only(gold["fct_messages"], request_id=None)
    assert (without_job["recipient_key"], without_job["outcome"]) == ("activity:a0027", "implied_delivery")


def test_the_job_has_the_counts_that_the_table_adds_up_to(gold: Gold) -> None:
    expected = {
        "targeted": 16,
        "attempted": 13,  # all but R9, R10 and R11
        "accepted": 9,  # R1 R2 R3 R6 R12 R13 R14, R8 and the hash
        "delivered": 8,  # the seven, and R4
        "implied_delivered": 2,
        "bounced": 3,  # R4 R5 R15
        "bounced_inband": 2,
        "bounced_outofband": 1,
        "hard_bounced": 1,
        "soft_bounced": 0,
        "block_bounced": 1,
        "undetermined_bounced": 1,
        "deferred": 1,
        "suppressed": 1,
        "rejected": 1,
        "render_failed": 1,
        "unique_openers": 4,  # R1 R2 R8 and the hash
        "unique_human_openers": 3,
        "machine_only_openers": 1,
        "open_events": 4,
        "unique_clickers": 2,
        "unique_human_clickers": 1,
        "click_events": 2,
        "unsubscribers": 1,
        "complainers": 1,
        "accepted_fbl": 3,  # R13 R14 and the hash, at Yahoo
        "complainers_fbl": 1,
        "job_errors": 1,
    }
    found = _only(gold["job_metrics"], request_id=JOB)
    assert {name: found[name] for name in expected} == expected


def test_the_job_has_the_rates_that_follow(gold: Gold) -> None:
    expected = {
        "delivery_rate": 9 / 13,
        "bounce_rate": 3 / 13,
        "hard_bounce_rate": 1 / 13,
        "soft_bounce_rate": 0.0,
        "block_bounce_rate": 1 / 13,
        "undetermined_bounce_rate": 1 / 13,
        "settled_bounce_rate": 4 / 13,
        "outofband_rate": 1 / 8,
        "suppression_rate": 1 / 16,
        "render_error_rate": 1 / 16,
        "open_rate": 4 / 9,
        "click_rate": 2 / 9,
        "human_open_rate": 3 / 9,
        "human_click_rate": 1 / 9,
        "click_to_open_rate": 1 / 3,  # R1 of R1, R8 and the hash
        "unsubscribe_rate": 1 / 9,
        "complaint_rate": 1 / 9,
        "complaint_rate_fbl": 1 / 3,
        "seconds_to_open_p50": 75.0,  # of 50 and 100
        "seconds_to_open_p90": 95.0,
        "seconds_to_click_p50": 61.0,  # of 2 and 120
        "seconds_to_click_p90": 108.2,
        "send_duration_seconds": 1800.0,
    }
    found = _only(gold["job_metrics"], request_id=JOB)
    assert {name: found[name] for name in expected} == pytest.approx(expected)


def test_a_job_of_errors_has_one_row_of_zeros_and_no_rates(gold: Gold) -> None:
    found = _only(gold["job_metrics"], request_id=BROKEN)
    assert (found["channel"], found["targeted"], found["job_errors"], found["bounce_rate"]) == ("none", 0, 1, None)
    job = _only(gold["dim_jobs"], request_id=BROKEN)
    assert (job["job_date_source"], job["job_date"], job["channels"], job["first_send_at"]) == ("first_event", date(2026, 1, 10), [], None)


def test_a_job_is_dated_by_its_first_send_in_both_zones(gold: Gold) -> None:
    job = _only(gold["dim_jobs"], request_id=JOB)
    assert (job["job_date"], job["job_date_local"], job["job_date_source"]) == (date(2026, 1, 10), date(2026, 1, 9), "send")
    assert (job["request_type"], job["channels"], job["correlation_id"]) == ("bulk_job", ["email"], "first")
    # The last send evidence is R4's bounce, on 11 January at 3; as of 20 January that is nine days ago.
    assert (job["last_send_at"], job["maturity"]) == (BEGIN + timedelta(days=1), "engaging")
    mobile = _only(gold["dim_jobs"], request_id=MOBILE)
    assert (mobile["request_type"], mobile["channels"], mobile["account_id"]) == ("bulk_campaign", ["push", "sms"], "10020030")
    assert mobile["first_send_at"] == BEGIN - timedelta(seconds=10)


def test_the_days_of_the_job_add_up(gold: Gold) -> None:
    first = _only(gold["job_metrics_daily"], request_id=JOB, event_date=date(2026, 1, 10))
    second = _only(gold["job_metrics_daily"], request_id=JOB, event_date=date(2026, 1, 11))
    expected = {
        "delivery_events": 8,
        "bounce_events": 4,  # R5 twice, R12, R15
        "deferral_events": 2,
        "suppression_events": 1,
        "rejection_events": 1,
        "render_error_events": 1,
        "open_events": 4,
        "human_open_events": 3,
        "click_events": 2,
        "human_click_events": 1,
        "first_delivered": 8,
        "first_bounced": 2,
        "first_opens": 4,
        "first_human_opens": 3,
        "first_clicks": 2,
        "first_human_clicks": 1,
        "first_unsubscribes": 1,
        "first_complaints": 1,
    }
    assert {name: first[name] for name in expected} == expected
    assert {name: number for name, number in second.items() if number and name.endswith(("events", "bounced"))} == {
        "bounce_events": 1,
        "first_bounced": 1,
    }
    assert _only(gold["job_metrics_daily"], request_id=None)["first_opens"] == 1


def test_the_categories_of_the_job_add_up_to_its_failures(gold: Gold) -> None:
    rows = {row["category_key"]: row for row in gold["job_bounce_categories"] if row["request_id"] == JOB}
    assert {key: (row["messages"], row["events"]) for key, row in rows.items()} == {
        "10": (1, 1),
        "20": (0, 1),
        "22": (0, 1),
        "50": (1, 1),
        "70": (1, 2),
        "99": (1, 1),
        "110": (1, 1),
        "131": (1, 1),
    }
    assert sum(row["messages"] for row in rows.values()) == 3 + 1 + 1 + 1
    assert (rows["131"]["rate"], rows["131"]["share_of_failures"]) == (1 / 16, 1 / 6)
    assert (rows["70"]["rate"], rows["70"]["first_seen_at"]) == (1 / 13, BEGIN)
    assert (rows["99"]["category"], rows["99"]["class"], rows["22"]["category"]) == ("Greylist Policy", "unknown", "Mailbox Full")


def test_push_and_sms_categories_are_matched_in_capitals(gold: Gold) -> None:
    sms = _only(gold["job_bounce_categories"], request_id=MOBILE, channel="sms")
    push = _only(gold["job_bounce_categories"], request_id=MOBILE, channel="push")
    assert (sms["category_key"], sms["counts_as"], sms["rate"]) == ("ADDRESS_BLOCKED", "block", 1.0)
    assert (push["category_key"], push["counts_as"], push["rate"]) == ("DAILY_CAP", "rejected", 1.0)
    assert {row["mailbox_provider"] for row in gold["fct_messages"] if row["request_id"] == MOBILE} == {"sms", "apns"}


def test_a_daily_rate_is_of_the_messages_of_that_day_and_provider(gold: Gold) -> None:
    """Yahoo's attempts of 10 January: R4, R13, R14, R15 (the hash has no attempt); of 11 January: R4's bounce."""
    odd = _only(gold["bounce_categories_daily"], mailbox_provider="yahoo", category_key="99")
    assert (odd["event_date"], odd["messages"], odd["denominator"], odd["rate"]) == (date(2026, 1, 10), 1, 4, 0.25)
    assert (odd["rate_median_28d"], odd["rate_vs_median_28d"]) == (None, None)
    hard = _only(gold["bounce_categories_daily"], mailbox_provider="yahoo", category_key="10")
    assert (hard["event_date"], hard["messages"], hard["denominator"], hard["rate"]) == (date(2026, 1, 11), 1, 1, 1.0)
    assert (hard["messages_7d"], hard["denominator_7d"], hard["rate_7d"]) == (1, 5, 0.2)
    assert (hard["rate_median_28d"], hard["rate_vs_median_28d"]) == (0.0, None)
    # Gmail's send evidence of 10 January: R1 R2 R3 R5 R6 R7 R9 R11 R12.
    suppressed = _only(gold["bounce_categories_daily"], category_key="131")
    assert (suppressed["mailbox_provider"], suppressed["denominator"]) == ("gmail", 9)


def test_the_month_before_is_the_median_of_the_days_with_messages(tmp_path: Path) -> None:
    """Hard bounces of messages sent: 1 of 2, 1 of 4, 0 of 1, a day without any, then 1 of 1: four times the median of 0, 1/4 and 1/2."""
    feed = _Feed()
    for day, (bounced, delivered) in enumerate([(1, 1), (1, 3), (0, 1), (0, 0), (1, 0)]):
        for index in range(bounced + delivered):
            who, at = f"D{day}-{index}", day * 86_400.0
            if index < bounced:
                feed.add("bounces", at, who, email_address=f"{who}@post.example", category_code=10)
            else:
                feed.add("deliveries", at, who, email_address=f"{who}@post.example")
    rows = _gold(tmp_path, feed)["bounce_categories_daily"]
    last = _only(rows, event_date=date(2026, 1, 14))
    assert (last["mailbox_provider"], last["rate"], last["rate_median_28d"], last["rate_vs_median_28d"]) == ("other", 1.0, 0.25, 4.0)
    assert (last["messages_7d"], last["denominator_7d"], last["rate_7d"]) == (3, 8, 3 / 8)


@pytest.mark.parametrize(
    ("hours", "maturity"), [(0.99, "sending"), (1, "settling"), (71.9, "settling"), (72, "engaging"), (719, "engaging"), (720, "final")]
)
def test_a_job_grows_up_by_the_clock(tmp_path: Path, hours: float, maturity: str) -> None:
    feed = _Feed()
    feed.add("bounces", (datetime(2026, 1, 20, tzinfo=UTC) - BEGIN).total_seconds() - hours * 3600, "R1", category_code=70)
    gold = _gold(tmp_path, feed)
    assert gold["dim_jobs"][0]["maturity"] == maturity
    settled = gold["job_metrics"][0]["settled_bounce_rate"]
    assert settled == (1.0 if maturity in ("engaging", "final") else None)


def test_three_links_within_two_seconds_are_a_bots(tmp_path: Path) -> None:
    """Clicks at 100, 101 and 102 s on three links: each has the two others within 2 s. The fourth, at 104.5 s, has only one."""
    feed = _Feed()
    for seconds, link in ((100, "a"), (101, "b"), (102, "c"), (104.5, "d")):
        feed.add("clicks", seconds, "R1", email_address=_gmail("R1"), url=f"https://{link}.example")
    feed.add("clicks", 500, "R1", url="https://a.example", user_agent="Mozilla/5.0 (compatible; Barracuda Sentinel)")
    message = _gold(tmp_path, feed)["fct_messages"][0]
    assert (message["click_events"], message["human_click_events"]) == (5, 1)


def test_every_table_has_its_primary_key_once(gold: Gold) -> None:
    for table, key in PRIMARY_KEYS.items():
        assert difference(gold[table], gold[table], key=key) == "", table


def test_percentiles_interpolate() -> None:
    assert percentile([1.0, 2.0, 4.0], 0.5) == 2.0
    assert percentile([1.0, 2.0, 4.0], 0.9) == pytest.approx(3.6)
    assert percentile([], 0.5) is None


def test_a_difference_names_the_row_and_the_column() -> None:
    expected: list[Row] = [
        {"id": 1, "n": 2, "f": 0.1 + 0.2, "_rescued_data": '{"a": "1", "b": "2"}'},
        {"id": 2, "n": 3, "f": None, "_rescued_data": None},
    ]
    assert difference(expected, [row | {"f": 0.3} if row["f"] else row for row in expected], key=["id"]) == ""
    swapped = [expected[0] | {"_rescued_data": '{"b": "2", "a": "1"}'}, expected[1]]
    assert difference(expected, swapped, key=["id"]) == ""
    found = difference(expected, [expected[0] | {"n": 5}, {"id": 3}], key=["id"])
    assert found.splitlines() == ["2 rows expected, 2 found", "missing: id=2", "too many: id=3", "id=1: n should be 2, is 5"]
    assert "found twice: id=1" in difference(expected, [*expected, expected[0]], key=["id"])
