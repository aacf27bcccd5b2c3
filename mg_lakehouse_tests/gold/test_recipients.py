"""What recipients do to a sender's standing, day by day: each number reckoned by hand from the definitions."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any, Final

import pytest

from mg_lakehouse.lake.lake import Lake
from mg_lakehouse_tests.gold.helpers import NOON, Event, append, build, event, one, table

JOB: Final = "b81-spring"
DAY: Final = 86_400
TODAY: Final = NOON.date()
TOMORROW: Final = TODAY + timedelta(days=1)


def mail(table_: str, who: str, domain: str, seconds: float = 0, **values: Any) -> Event:
    return event(table_, seconds, request=JOB, recipient_id=f"{who}@{domain}", email=f"{who}@{domain}", **values)


def delivered(domain: str, number: int, *, complaints: int) -> Iterator[Event]:
    """Messages that a domain took, and complaints about the first of them, which come on the next day."""
    yield from (mail("deliveries", f"r{each}", domain) for each in range(number))
    yield from (mail("spam_complaints", f"r{each}", domain, DAY) for each in range(complaints))


# Yahoo runs aol.com too, and reports complaints as Comcast and Microsoft do; Gmail reports none.
FUNNEL: Final = [
    *delivered("yahoo.com", 200, complaints=3),
    *delivered("aol.com", 200, complaints=0),
    *delivered("comcast.net", 199, complaints=2),
    *delivered("outlook.com", 200, complaints=1),
    *delivered("gmail.com", 3, complaints=1),
    # Put off today and delivered tomorrow, opened by a person and clicked the day after: all of it is today's.
    mail("bounces", "late", "gmail.com", category_code=70),
    mail("deliveries", "late", "gmail.com", DAY),
    mail("opens", "late", "gmail.com", DAY + 60, user_agent="Safari"),
    mail("clicks", "late", "gmail.com", 2 * DAY, url="u"),
    # Nobody's domain: a hard bounce and a suppressed message, nothing accepted; and an address that is a hash.
    mail("bounces", "gone", "nobody.example", category_code=10),
    mail("bounces", "left", "nobody.example", category_code=131),
    event("deliveries", request=JOB, email="0beec7b5ea3f0fdb"),
    # Of no job, tomorrow: each event is a message of its own.
    event("opens", DAY, request=None, email="x@yahoo.com"),
    event("opens", DAY, request=None, email="x@yahoo.com"),
    event("sms_deliveries", request=JOB, phone="+15550001"),
]


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    lake = Lake(str(tmp_path_factory.mktemp("recipients") / "lake"))
    append(lake, FUNNEL)
    build(lake, select="mailbox_provider_daily recipient_domain_daily", data_tests=True)
    return lake


def of_provider(lake: Lake, provider: str, day: date = TODAY) -> dict[str, Any]:
    return one(table(lake, "mailbox_provider_daily"), event_date=day, mailbox_provider=provider)


def of_domain(lake: Lake, domain: str | None) -> dict[str, Any]:
    return one(table(lake, "recipient_domain_daily"), event_date=TODAY, recipient_domain=domain, channel="email")


def test_a_provider_has_the_messages_of_all_its_domains(lake: Lake) -> None:
    row = of_provider(lake, "yahoo")
    assert (row["targeted"], row["accepted"], row["accepted_fbl"]) == (400, 400, 400)
    assert (row["complainers"], row["complainers_fbl"], row["complaint_rate"], row["complaint_rate_fbl"]) == (3, 3, 3 / 400, 3 / 400)


def test_a_message_counts_on_the_day_of_its_first_event_whatever_came_later(lake: Lake) -> None:
    row = of_domain(lake, "gmail.com")
    assert (row["targeted"], row["delivered"], row["deferred"]) == (4, 4, 0)
    assert (row["unique_human_openers"], row["unique_human_clickers"], row["human_engaged"]) == (1, 1, 1)
    assert (row["human_open_rate"], row["click_to_open_rate"]) == (1 / 4, 1.0)
    # Complaints came tomorrow; tomorrow's own messages are those of no job.
    days = table(lake, "mailbox_provider_daily").select("event_date", "mailbox_provider", "targeted").rows()
    assert [row for row in days if row[0] != TODAY] == [(TOMORROW, "yahoo", 2)]


def test_nothing_accepted_leaves_the_rates_of_it_empty(lake: Lake) -> None:
    row = of_domain(lake, "nobody.example")
    assert (row["mailbox_provider"], row["targeted"], row["attempted"], row["accepted"]) == ("other", 2, 1, 0)
    assert (row["delivery_rate"], row["hard_bounce_rate"], row["suppression_rate"]) == (0.0, 1.0, 1 / 2)
    assert [row[name] for name in ("open_rate", "complaint_rate", "complaint_rate_fbl", "complaint_rate_low")] == [None] * 4


def test_an_address_without_a_readable_domain_stands_without_one(lake: Lake) -> None:
    row = of_domain(lake, None)
    assert (row["mailbox_provider"], row["accepted"]) == ("unknown", 1)


def test_a_job_has_its_days_and_what_belongs_to_no_job_has_its_own(lake: Lake) -> None:
    days = table(lake, "domain_days")
    orphans = one(days, request_id=None)
    assert (orphans["event_date"], orphans["recipient_domain"], orphans["targeted"]) == (TOMORROW, "yahoo.com", 2)
    assert one(days, request_id=JOB, channel="sms")["mailbox_provider"] == "sms"


# With z = 1.96, the least share that s of n may stand for is (s + z²/2 - z √(s (n - s) / n + z²/4)) / (n + z²).
@pytest.mark.parametrize(
    ("domain", "low", "level"),
    [
        pytest.param("yahoo.com", 0.005_115, "act", id="3 of 200 are at least half a percent"),
        pytest.param("aol.com", 0.0, "none", id="0 of 200"),
        pytest.param("comcast.net", 0.002_760, "too_few", id="2 of 199 would be watched"),
        pytest.param("outlook.com", 0.000_883, "none", id="1 of 200 is half a percent, and may be luck"),
        pytest.param("gmail.com", None, None, id="reports none, whatever came another way"),
    ],
)
def test_complaints_are_judged_by_what_they_are_at_least(lake: Lake, domain: str, low: float | None, level: str | None) -> None:
    row = of_domain(lake, domain)
    assert row["complaint_level"] == level
    assert row["complaint_rate_low"] == (None if low is None else pytest.approx(low, abs=1e-6))


def test_a_provider_is_judged_by_itself(lake: Lake) -> None:
    """3 of 200 at one domain and 0 of 200 at the other are 3 of 400 at the provider, which are at least 0.255 %."""
    row = of_provider(lake, "yahoo")
    assert (row["complaint_rate_low"], row["complaint_level"]) == (pytest.approx(0.002_554, abs=1e-6), "watch")


def test_text_messages_are_not_judged(lake: Lake) -> None:
    row = of_provider(lake, "sms")
    assert (row["accepted"], row["complaint_rate"], row["complaint_level"]) == (1, 0.0, None)
