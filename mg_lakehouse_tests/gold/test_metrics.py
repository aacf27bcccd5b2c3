"""The metrics of one small scenario, each number reckoned by hand from the definitions."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

import polars as pl
import pytest

from mg_lakehouse.lake.lake import Lake
from mg_lakehouse_tests.gold.helpers import NOON, Event, append, build, event, one, table

BROWSER: Final = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7)"
JOB: Final = "b81-summer"
HOUR, DAY = 3_600, 86_400


def mail(table_: str, who: str, seconds: float = 0, domain: str = "corp.example", **values: Any) -> Event:
    return event(table_, seconds, request=JOB, recipient_id=who, email=f"{who}@{domain}", **values)


# Sent at noon on 10 March. Yahoo reports complaints, Gmail and a domain of nobody's do not.
CAMPAIGN: Final = [
    # Four delivered in the end, one of them put off first, over 90 s.
    mail("deliveries", "ann", 0, "yahoo.com", account_id="acct", job_category="news"),
    mail("deliveries", "ben", 30, "yahoo.com"),
    mail("bounces", "cat", 10, "gmail.com", category_code=70),
    mail("deliveries", "cat", 60, "gmail.com"),
    mail("deliveries", "dan", 90, "gmail.com"),
    # One that bounced the day after its delivery, two that bounced at once, one whose code nobody knows, one still put off.
    mail("deliveries", "eve", 20),
    mail("bounces", "eve", DAY, category_code=22),
    mail("bounces", "fay", 5, category_code=10),
    mail("bounces", "gus", 5, category_code=51),
    mail("bounces", "hal", 5, category_code=777),
    mail("bounces", "ida", 5, category_code=70),
    # Never sent: two suppressed, one refused, one that failed to render.
    mail("bounces", "jim", 1, category_code=131),
    mail("bounces", "kim", 1, category_code=131),
    mail("bounces", "leo", 1, category_code=110),
    mail("render_errors", "mia", 1),
    # Its delivery event is lost: it opened.
    mail("opens", "ned", 200, user_agent=BROWSER),
    # Ann: a machine after 10 s, herself after 100 s and again on the next day in UTC, which New York still calls the 10th.
    mail("opens", "ann", 10, "yahoo.com", user_agent="Mozilla/5.0"),
    mail("opens", "ann", 100, "yahoo.com", user_agent=BROWSER),
    mail("opens", "ann", 13 * HOUR, "yahoo.com", user_agent=BROWSER),
    mail("clicks", "ann", 120, "yahoo.com", url="https://a.example", user_agent=BROWSER),
    # Ben: a machine only, 60 s after his delivery; he complains and leaves.
    mail("opens", "ben", 90, "yahoo.com", user_agent="Mozilla/5.0"),
    mail("spam_complaints", "ben", DAY, "yahoo.com"),
    mail("unsubscribes", "ben", DAY, "yahoo.com"),
    # Cat clicks without an open, 340 s after her delivery; Dan's scanner clicks 2 s after his. Gmail's complaint is no report.
    mail("clicks", "cat", 400, "gmail.com", url="https://a.example", user_agent=BROWSER),
    mail("clicks", "dan", 92, "gmail.com", url="https://a.example", user_agent=BROWSER),
    mail("spam_complaints", "dan", 2 * DAY, "gmail.com"),
    # Fay's open counts as an event, but she bounced.
    mail("opens", "fay", 300, user_agent=BROWSER),
    # The same job's text messages, and two errors that it had.
    event("sms_deliveries", request=JOB, recipient_id="ann", phone="+15550001", account_id="late"),
    event("sms_delivery_failures", request=JOB, recipient_id="ben", phone="+15550002", category="JOB_CANCELLED"),
    event("job_errors", -60, request=JOB, correlation_id="c-1"),
    event("job_errors", -30, request=JOB, correlation_id="c-2"),
]

EMAIL: Final = {
    "targeted": 14,
    "attempted": 10,
    "accepted": 5,
    "delivered": 5,
    "implied_delivered": 1,
    "bounced": 4,
    "bounced_inband": 3,
    "bounced_outofband": 1,
    "hard_bounced": 1,
    "soft_bounced": 1,
    "block_bounced": 1,
    "undetermined_bounced": 1,
    "deferred": 1,
    "suppressed": 2,
    "rejected": 1,
    "render_failed": 1,
    "unique_openers": 3,
    "unique_human_openers": 2,
    "machine_only_openers": 1,
    "open_events": 6,
    "unique_clickers": 3,
    "unique_human_clickers": 2,
    "click_events": 3,
    "unsubscribers": 1,
    "complainers": 2,
    "accepted_fbl": 2,
    "complainers_fbl": 1,
    "job_errors": 2,
    "delivery_rate": 5 / 10,
    "bounce_rate": 4 / 10,
    "hard_bounce_rate": 1 / 10,
    "soft_bounce_rate": 1 / 10,
    "block_bounce_rate": 1 / 10,
    "undetermined_bounce_rate": 1 / 10,
    "settled_bounce_rate": 5 / 10,
    "outofband_rate": 1 / 5,
    "suppression_rate": 2 / 14,
    "render_error_rate": 1 / 14,
    "open_rate": 3 / 5,
    "click_rate": 3 / 5,
    "human_open_rate": 2 / 5,
    "human_click_rate": 2 / 5,
    # Ann and Cat clicked; Ann, Cat and Ned opened or clicked.
    "click_to_open_rate": 2 / 3,
    "unsubscribe_rate": 1 / 5,
    "complaint_rate": 2 / 5,
    "complaint_rate_fbl": 1 / 2,
    # Ann after 10 s, Ben after 60 s; Ned has no delivery to count from. 10 + 0.9 * 50 = 55.
    "seconds_to_open_p50": 35.0,
    "seconds_to_open_p90": 55.0,
    # Dan 2 s, Ann 120 s, Cat 340 s. 120 + 0.8 * 220 = 296.
    "seconds_to_click_p50": 120.0,
    "seconds_to_click_p90": 296.0,
    "send_duration_seconds": 90.0,
}

OTHER_JOBS: Final = [
    # Errors and no message: 04:30 UTC on the 10th is half past midnight in New York, 03:30 is still the 9th there.
    event("job_errors", at=datetime(2026, 3, 10, 3, 30, tzinfo=UTC), request="t5-broken", campaign_id="camp"),
    # One that was suppressed only: nothing was attempted.
    event("bounces", request="d7-nothing", recipient_id="1", category_code=135, at=datetime(2026, 3, 10, 4, 30, tzinfo=UTC)),
    # Opens alone are no evidence of the time of sending.
    event("opens", request="02-c9-opened", recipient_id="1", user_agent=BROWSER),
    event("opens", 5, request="k3-external", recipient_id="1"),
    # A code that nobody knows, under two names.
    event("bounces", 1, request="d7-named", recipient_id="1", category_code=778, category="Grue"),
    event("bounces", 2, request="d7-named", recipient_id="2", category_code=778, category=" Gremlin "),
]
END: Final = NOON + timedelta(days=10)


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    lake = Lake(str(tmp_path_factory.mktemp("metrics") / "lake"))
    append(lake, [*CAMPAIGN, *OTHER_JOBS, *MATURING, *MONTH])
    build(lake, select="job_metrics_daily job_bounce_categories bounce_categories_daily", data_tests=True, as_of=END)
    return lake


MATURING: Final = [
    event("deliveries", request=f"m1-{name}", recipient_id="1", at=END - age)
    for name, age in {
        "59-minutes": timedelta(minutes=59),
        "1-hour": timedelta(hours=1),
        "71-hours": timedelta(hours=71),
        "72-hours": timedelta(hours=72),
        "29-days": timedelta(days=29),
        "30-days": timedelta(days=30),
    }.items()
]


def expect(row: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """Fail where the row has other values, and show which."""
    found = {name: row[name] for name in expected}
    assert found == {name: pytest.approx(value) if isinstance(value, float) else value for name, value in expected.items()}


@pytest.mark.parametrize("column", EMAIL)
def test_a_count_or_rate_of_a_job(lake: Lake, column: str) -> None:
    expect(one(table(lake, "job_metrics"), request_id=JOB, channel="email"), {column: EMAIL[column]})


def test_every_number_of_a_job_is_in_the_scenario(lake: Lake) -> None:
    assert set(table(lake, "job_metrics").columns) - set(EMAIL) == {"request_id", "channel", "job_date", "maturity"}


def test_each_channel_of_a_job_has_a_row_of_its_own(lake: Lake) -> None:
    row = one(table(lake, "job_metrics"), request_id=JOB, channel="sms")
    expect(row, {"targeted": 2, "attempted": 1, "delivered": 1, "rejected": 1, "delivery_rate": 1.0, "bounce_rate": 0.0, "job_errors": 2})
    expect(row, {"send_duration_seconds": 0.0, "seconds_to_open_p50": None, "complaint_rate_fbl": None})


def test_a_job_of_errors_only_shows_with_zeros_and_no_rates(lake: Lake) -> None:
    row = one(table(lake, "job_metrics"), request_id="t5-broken")
    counts = {name for name, value in EMAIL.items() if isinstance(value, int)} - {"job_errors"}
    expect(row, {"channel": "none", "job_errors": 1, "job_date": date(2026, 3, 10)} | dict.fromkeys(counts, 0))
    expect(row, {name: None for name, value in EMAIL.items() if isinstance(value, float)})


def test_a_rate_without_anything_to_share_is_null(lake: Lake) -> None:
    row = one(table(lake, "job_metrics"), request_id="d7-nothing")
    expect(row, {"targeted": 1, "suppressed": 1, "attempted": 0, "suppression_rate": 1.0, "render_error_rate": 0.0})
    nulls = {"delivery_rate", "bounce_rate", "settled_bounce_rate", "outofband_rate", "open_rate", "click_to_open_rate", "complaint_rate"}
    expect(row, dict.fromkeys(nulls))


@pytest.mark.parametrize(
    ("job", "maturity"),
    {
        "m1-59-minutes": "sending",
        "m1-1-hour": "settling",
        "m1-71-hours": "settling",
        "m1-72-hours": "engaging",
        "m1-29-days": "engaging",
        "m1-30-days": "final",
    }.items(),
)
def test_a_job_matures_by_the_time_since_its_last_send(lake: Lake, job: str, maturity: str) -> None:
    assert one(table(lake, "dim_jobs"), request_id=job)["maturity"] == maturity
    row = one(table(lake, "job_metrics"), request_id=job)
    assert row["maturity"] == maturity
    assert row["settled_bounce_rate"] == (0.0 if maturity in {"engaging", "final"} else None)


def test_a_job_is_what_its_earliest_events_say(lake: Lake) -> None:
    expect(
        one(table(lake, "dim_jobs"), request_id=JOB),
        {
            "account_id": "acct",
            "correlation_id": "c-1",
            "job_category": "news",
            "campaign_id": None,
            "request_type": "bulk_job",
            "channels": ["email", "sms"],
            "job_date": date(2026, 3, 10),
            "job_date_local": date(2026, 3, 10),
            "job_date_source": "send",
            "first_send_at": NOON,
            # Eve's late bounce is evidence of sending too.
            "last_send_at": NOON + timedelta(days=1),
            "first_event_at": NOON - timedelta(seconds=60),
            "last_event_at": NOON + timedelta(days=2),
        },
    )


def test_a_job_without_send_evidence_is_dated_by_its_first_event(lake: Lake) -> None:
    jobs = table(lake, "dim_jobs")
    expect(
        one(jobs, request_id="t5-broken"),
        {
            "request_type": "transactional_job",
            "campaign_id": "camp",
            "channels": [],
            "job_date": date(2026, 3, 10),
            "job_date_local": date(2026, 3, 9),
            "job_date_source": "first_event",
            "first_send_at": None,
            "last_send_at": None,
            "maturity": "engaging",
        },
    )
    expect(one(jobs, request_id="d7-nothing"), {"job_date_source": "send", "job_date_local": date(2026, 3, 10)})
    expect(one(jobs, request_id="02-c9-opened"), {"job_date_source": "first_event", "request_type": "transactional_campaign"})
    expect(one(jobs, request_id="k3-external"), {"channels": ["email"], "request_type": "external_job"})


DAYS: Final[dict[date, dict[str, int]]] = {
    date(2026, 3, 10): {
        "delivery_events": 5,
        "bounce_events": 3,
        "deferral_events": 2,
        "suppression_events": 2,
        "rejection_events": 1,
        "render_error_events": 1,
        "open_events": 5,
        "human_open_events": 3,
        "click_events": 3,
        "human_click_events": 2,
        # Eve's delivery counts, for it was one.
        "first_delivered": 5,
        "first_bounced": 3,
        "first_opens": 3,
        "first_human_opens": 2,
        "first_clicks": 3,
        "first_human_clicks": 2,
    },
    # In UTC Ann's third open is of the 11th; her first was the day before.
    date(2026, 3, 11): {
        "bounce_events": 1,
        "open_events": 1,
        "human_open_events": 1,
        "unsubscribe_events": 1,
        "complaint_events": 1,
        "first_bounced": 1,
        "first_unsubscribes": 1,
        "first_complaints": 1,
    },
    date(2026, 3, 12): {"complaint_events": 1, "first_complaints": 1},
}


@pytest.mark.parametrize("day", DAYS, ids=str)
def test_a_day_of_a_job_in_utc(lake: Lake, day: date) -> None:
    rows = table(lake, "job_metrics_daily").filter(request_id=JOB, channel="email", event_date=day)
    sums = rows.select(pl.exclude(pl.String, pl.Date)).sum().row(0, named=True)
    assert {name: value for name, value in sums.items() if value} == DAYS[day]


def test_a_job_has_only_the_days_on_which_something_happened(lake: Lake) -> None:
    days = table(lake, "job_metrics_daily").filter(request_id=JOB, channel="email")
    assert sorted(days["event_date"].unique()) == list(DAYS)


def test_a_day_of_a_job_in_the_business_zone(lake: Lake) -> None:
    # Ann's third open was at 1:00 UTC on the 11th, 21:00 in New York on the 10th.
    days = table(lake, "job_metrics_daily").filter(pl.col("open_events") > 0, request_id=JOB, channel="email")
    found = days.sort("event_date", "event_date_local").select("event_date", "event_date_local", "open_events").rows()
    assert found == [(date(2026, 3, 10), date(2026, 3, 10), 5), (date(2026, 3, 11), date(2026, 3, 10), 1)]


# The clock goes forward on 8 March at 7:00 UTC and back on 1 November at 6:00 UTC: those local days last 23 and 25 hours.
EDGES: Final = {
    "2026-03-08T04:59:59+00:00": date(2026, 3, 7),
    "2026-03-08T05:00:00+00:00": date(2026, 3, 8),
    "2026-03-09T03:59:59+00:00": date(2026, 3, 8),
    "2026-03-09T04:00:00+00:00": date(2026, 3, 9),
    "2026-11-01T03:59:59+00:00": date(2026, 10, 31),
    "2026-11-01T04:00:00+00:00": date(2026, 11, 1),
    "2026-11-02T04:59:59+00:00": date(2026, 11, 1),
    "2026-11-02T05:00:00+00:00": date(2026, 11, 2),
}


@pytest.fixture(scope="module")
def edges(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    lake = Lake(str(tmp_path_factory.mktemp("edges") / "lake"))
    append(lake, [event("deliveries", request=at, recipient_id="1", at=datetime.fromisoformat(at)) for at in EDGES])
    build(lake, select="job_metrics_daily dim_jobs", data_tests=True, as_of=datetime(2026, 12, 1, tzinfo=UTC))
    return lake


@pytest.mark.parametrize("at", EDGES)
def test_local_days_begin_and_end_at_midnight_of_the_zone(edges: Lake, at: str) -> None:
    utc = datetime.fromisoformat(at).date()
    job, day = one(table(edges, "dim_jobs"), request_id=at), one(table(edges, "job_metrics_daily"), request_id=at)
    assert (job["job_date"], job["job_date_local"]) == (utc, EDGES[at])
    assert (day["event_date"], day["event_date_local"], day["first_delivered"]) == (utc, EDGES[at], 1)


CATEGORIES: Final = {
    # key: messages, events, share of the eight failures, rate, class
    "10": (1, 1, 1 / 8, 1 / 10, "hard"),
    "22": (1, 1, 1 / 8, 1 / 10, "soft"),
    "51": (1, 1, 1 / 8, 1 / 10, "block"),
    "777": (1, 1, 1 / 8, 1 / 10, "unknown"),
    # Cat's deferral is an event of no failed message.
    "70": (1, 2, 1 / 8, 1 / 10, "transient"),
    # What was never attempted is a share of all that was wanted.
    "131": (2, 2, 2 / 8, 2 / 14, "suppressed"),
    "110": (1, 1, 1 / 8, 1 / 14, "invalid"),
}


@pytest.mark.parametrize("key", CATEGORIES)
def test_a_category_of_a_jobs_failures(lake: Lake, key: str) -> None:
    row = one(table(lake, "job_bounce_categories"), request_id=JOB, channel="email", category_key=key)
    expect(row, dict(zip(("messages", "events", "share_of_failures", "rate", "class"), CATEGORIES[key], strict=True)))


def test_the_categories_of_a_job_are_complete(lake: Lake) -> None:
    rows = table(lake, "job_bounce_categories").filter(request_id=JOB, channel="email")
    assert set(rows["category_key"]) == set(CATEGORIES)
    assert one(rows, category_key="70")["first_seen_at"] == NOON + timedelta(seconds=5)
    assert one(rows, category_key="70")["last_seen_at"] == NOON + timedelta(seconds=10)
    assert one(rows, category_key="22")["category"] == "Mailbox Full"
    assert one(rows, category_key="777")["category"] == "777"


def test_an_unknown_category_is_named_by_what_was_received(lake: Lake) -> None:
    assert one(table(lake, "job_bounce_categories"), request_id="d7-named")["category"] == "Gremlin"
    assert one(table(lake, "bounce_categories_daily"), category_key="778")["category"] == "Gremlin"


# A provider of its own, so that nothing else is in its rates: of four messages a day, so many bounced with code 22.
SENT_A_DAY: Final = 4
BOUNCED: Final = {-29: 4, -28: 1, -20: 2, -7: 1, -6: 1, -1: 0, 0: 3}
MONTH: Final = [
    event(
        "bounces" if number < bounced else "deliveries",
        request=f"t2-day{-back}",
        recipient_id=str(number),
        email=f"{number}@comcast.net",
        at=NOON + timedelta(days=back),
        **({"category_code": 22} if number < bounced else {}),
    )
    for back, bounced in BOUNCED.items()
    for number in range(SENT_A_DAY)
] + [
    # On the last day a suppression too, whose denominator is all that was to be sent.
    event("bounces", request="t2-day0", recipient_id="9", email="9@comcast.net", category_code=130)
]


def daily(lake: Lake, key: str, day: datetime = NOON) -> dict[str, Any]:
    rows = table(lake, "bounce_categories_daily").filter(pl.col("mailbox_provider") == "comcast")
    return one(rows, event_date=day.date(), category_key=key)


def test_a_days_bounces_against_the_week_and_the_four_weeks_before(lake: Lake) -> None:
    expect(
        daily(lake, "22"),
        {
            "channel": "email",
            "category": "Mailbox Full",
            "messages": 3,
            "events": 3,
            "denominator": 4,
            "rate": 3 / 4,
            # Today, yesterday and the day six before; the one seven before is no more of it.
            "messages_7d": 4,
            "denominator_7d": 12,
            "rate_7d": 4 / 12,
            # Of 1/4, 2/4, 1/4, 1/4 and 0/4 on the days 28, 20, 7, 6 and 1 before.
            "rate_median_28d": 1 / 4,
            "rate_vs_median_28d": 3.0,
        },
    )


def test_the_first_day_has_nothing_to_be_compared_with(lake: Lake) -> None:
    row = daily(lake, "22", NOON - timedelta(days=29))
    expect(row, {"messages": 4, "rate": 1.0, "rate_7d": 1.0, "rate_median_28d": None, "rate_vs_median_28d": None})


def test_a_day_after_clean_days_has_no_change_against_nought(lake: Lake) -> None:
    # Nobody was suppressed before: the median is 0 and nothing can be divided by it. Suppressed: one of five to be sent.
    row = daily(lake, "130")
    expect(row, {"messages": 1, "denominator": 5, "rate": 1 / 5, "denominator_7d": 13, "rate_median_28d": 0.0, "rate_vs_median_28d": None})


def test_a_day_without_a_failure_has_no_row(lake: Lake) -> None:
    rows = table(lake, "bounce_categories_daily").filter(mailbox_provider="comcast", event_date=(NOON - timedelta(days=1)).date())
    assert rows.height == 0


def test_a_message_put_off_and_delivered_is_an_event_of_the_day_only(lake: Lake) -> None:
    rows = table(lake, "bounce_categories_daily").filter(category_key="70", event_date=NOON.date())
    gmail = one(rows, mailbox_provider="gmail")
    expect(gmail, {"messages": 0, "events": 1, "denominator": 2, "rate": 0.0})
    expect(one(rows, mailbox_provider="other"), {"messages": 1, "events": 1})
