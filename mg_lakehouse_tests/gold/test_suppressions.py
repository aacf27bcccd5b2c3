"""Who must get nothing more, and why: reckoned by hand from the definitions."""

from __future__ import annotations

import hmac
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import polars as pl
import pytest

from mg_lakehouse.lake.lake import Lake
from mg_lakehouse_tests.gold.helpers import NOON, PII_KEY, Event, append, build, event, log_text, one, table

JOB: Final = "b81-spring"
HOUR: Final = 3_600
OTHER: Final = "t7-other"
FEED_NUMBER: Final = "55501"


def inbound(phone: str, hours: float, kind: str | None, *, text: str | None = None, to: str = FEED_NUMBER) -> Event:
    named: dict[str, Any] = {"inbound_message_type": kind, "inbound_message": text, "destination_sms_number": to}
    return event("sms_inbounds", hours * HOUR, request=None, phone=phone, **named)


EVENTS: Final = [
    # Ann bounces for good in two ways, leaves, and complains of another job; the case of her address is not hers alone.
    event("bounces", 0, request=JOB, email="Ann@corp.example ", category_code=10),
    event("bounces", 2 * HOUR, request=OTHER, email="ann@corp.example", category="Generic Bounce: No RCPT"),
    event("unsubscribes", HOUR, request=JOB, email="ann@corp.example"),
    event("spam_complaints", 3 * HOUR, request=OTHER, email="ANN@CORP.EXAMPLE"),
    # No reasons: a full mailbox, a block, an address that is none (which was never sent to), a suppressed message, a code that nobody knows.
    *(event("bounces", 0, request=JOB, email=f"code{code}@corp.example", category_code=code) for code in (22, 51, 70, 110, 130, 777)),
    # Ben unsubscribes without an address, of a job and of none: both his addresses are known. Of nobody it cannot be known.
    event("deliveries", 0, request=JOB, recipient_id="ben", email="ben@corp.example"),
    event("deliveries", 1, request=OTHER, recipient_id="ben", email="ben@home.example"),
    event("unsubscribes", 50, request=JOB, recipient_id="ben"),
    event("unsubscribes", 50, request=None, recipient_id="ben"),
    event("unsubscribes", 50, request=OTHER),
    # An address that is a hash is one.
    event("unsubscribes", 60, request=JOB, email="0BEEC7B5EA3F0FDB"),
    # Cat leaves the e-mail of a sender that has her number too.
    event("unsubscribes", 60, request=JOB, recipient_id="cat", email="cat@corp.example"),
    event("sms_deliveries", 0, request=JOB, recipient_id="cat", phone="+15550002"),
    # Two complaints at the same moment: the greater id is the later.
    event("spam_complaints", 60, request="b1-first", email="dan@corp.example", activity_id="tie-1"),
    event("spam_complaints", 60, request="b1-last", email="dan@corp.example", activity_id="tie-2"),
    # Stopped; stopped and started again; stopped again after that; stopped at one number and started at another; both in one moment.
    inbound("+1000", 1, "STOP"),
    inbound("+2000", 1, "STOP"),
    inbound("+2000", 2, "START"),
    inbound("+3000", 1, "STOP"),
    inbound("+3000", 2, "START"),
    inbound("+3000", 3, " stop "),
    inbound("+3000", 4, "STOP"),
    inbound("+4000", 1, "STOP"),
    inbound("+4000", 2, "START", to="55502"),
    inbound("+5000", 1, "STOP"),
    inbound("+5000", 1, "START"),
    # Without a kind, or with one that says nothing, the text says it; with another the text says nothing.
    inbound("+6001", 1, None, text="Opt-out!"),
    inbound("+6002", 1, None, text="Stop texting me"),
    inbound("+6003", 1, None, text="please don't stop"),
    inbound("+6004", 1, None, text="end of story"),
    inbound("+6005", 1, "KEYWORD", text="STOP"),
    inbound("+6006", 1, "HELP", text="STOP"),
    inbound("+6007", 1, None, text="Stop"),
    inbound("+6007", 2, None, text="unstop"),
    inbound("+6008", 1, "KEYWORD", text="Stop. Thank you"),
    inbound("+6009", 1, "Keyword", text="Arre\u0302t"),
    inbound("+6010", 1, None, text="\uff33\uff34\uff2f\uff30"),
    inbound("+6011", 1, "KEYWORD", text="pizza"),
    event("sms_delivery_failures", 0, request=JOB, phone="+7001", category="invalid_address"),
    event("sms_delivery_failures", 0, request=JOB, phone="+7002", category="ADDRESS_BLOCKED"),
    event("mobile_push_delivery_failures", 0, request=JOB, device="Token-1", category="EXPIRED"),
    event("mobile_push_delivery_failures", 5, request=OTHER, device="token-1", category="FAILURE_PERMANENT"),
    event("mobile_push_delivery_failures", 0, request=JOB, device="token-2", category="TIMEOUT"),
]


LATER: Final = "b92-summer"
DAY: Final = 24
TENTH: Final = NOON + timedelta(hours=10 * DAY)
"""When the next job goes out."""


def sent(table_: str, address: str, seconds: float = 0, **values: Any) -> Event:
    channel = "device" if "push" in table_ else "phone" if "sms" in table_ else "email"
    return event(table_, seconds, request=LATER, at=TENTH, **{channel: address}, **values)


AFTERWARDS: Final = [
    # To Ann, under her recipient id and in capitals: delivered. To Ben it bounced, to Dan it was put off; to Cat it was suppressed, in time.
    sent("deliveries", "ANN@corp.example", 60, recipient_id="ann"),
    sent("opens", "ann@corp.example", 90),
    sent("bounces", "ben@corp.example", category_code=22),
    sent("bounces", "dan@corp.example", category_code=70),
    sent("bounces", "cat@corp.example", category_code=131),
    # Nothing was ever known of Eve. Fay leaves at the very moment of the attempt, Gus an hour after it.
    sent("deliveries", "eve@corp.example"),
    sent("deliveries", "fay@corp.example"),
    event("unsubscribes", request=JOB, at=TENTH, email="fay@corp.example"),
    sent("deliveries", "gus@corp.example"),
    sent("unsubscribes", "gus@corp.example", HOUR, recipient_id="gus"),
    # Its delivery is lost: Hal unsubscribes from it, then it bounces. His own answer is no reason not to have sent it.
    sent("unsubscribes", "hal@corp.example", 10, recipient_id="hal"),
    sent("bounces", "hal@corp.example", HOUR, recipient_id="hal", category_code=22),
    # One message of two addresses, and an event that names it by the second, of which Ivy complained elsewhere.
    sent("deliveries", "ivy@corp.example", recipient_id="ivy"),
    sent("opens", "ivy@home.example", 5, recipient_id="ivy"),
    event("spam_complaints", request=JOB, email="ivy@home.example"),
    # Of two with one address the one that is named by it alone is a third.
    sent("deliveries", "kim@corp.example", recipient_id="k1"),
    sent("deliveries", "kim@corp.example", recipient_id="k2"),
    sent("bounces", "kim@corp.example", category_code=20),
    event("unsubscribes", request=JOB, email="kim@corp.example"),
    # Put off first, so that they were attempted, and then held back, refused as no address, and found without content.
    *(event("unsubscribes", request=JOB, email=f"{name}@corp.example") for name in ("lee", "moe", "noa")),
    *(sent("bounces", f"{name}@corp.example", category_code=70) for name in ("lee", "moe", "noa")),
    sent("bounces", "lee@corp.example", 60, category_code=131),
    sent("bounces", "moe@corp.example", 60, category_code=110),
    sent("render_errors", "noa@corp.example", 60),
    # A delivery that belongs to no job.
    event("deliveries", request=None, at=TENTH, email="ann@corp.example", activity_id="no-job"),
    # +1000 had stopped; +2000 had started again; +3000 had stopped once more; +8000 starts again at the moment of the attempt, +9000 after it.
    *(sent("sms_deliveries", phone) for phone in ("+1000", "+2000", "+3000", "+8000", "+9000")),
    inbound("+8000", 1, "STOP"),
    inbound("+8000", 10 * DAY, "START"),
    inbound("+9000", 1, "STOP"),
    inbound("+9000", 10 * DAY + 1, "START"),
    sent("mobile_push_deliveries", "token-1", service="APNS"),
    # Cat's number has nothing to do with her leaving the e-mail.
    sent("sms_deliveries", "+15550002", recipient_id="cat"),
]


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    lake = Lake(str(tmp_path_factory.mktemp("suppressions") / "lake"))
    append(lake, [*EVENTS, *AFTERWARDS])
    build(lake, select="suppression_list suppression_violations", data_tests=True)
    return lake


def at(hours: float) -> datetime:
    return NOON + timedelta(hours=hours)


def listed(lake: Lake, address: str) -> dict[str, Any]:
    return one(table(lake, "suppression_list"), address=address)


def test_the_list_has_whom_to_remove_and_nobody_else(lake: Lake) -> None:
    found = table(lake, "suppression_list").select("channel", "address").rows()
    assert sorted(found) == [
        ("email", "0beec7b5ea3f0fdb"),
        ("email", "ann@corp.example"),
        ("email", "ben@corp.example"),
        ("email", "ben@home.example"),
        ("email", "cat@corp.example"),
        ("email", "dan@corp.example"),
        *(("email", f"{name}@corp.example") for name in ("fay", "gus", "hal")),
        ("email", "ivy@home.example"),
        ("email", "kim@corp.example"),
        *(("email", f"{name}@corp.example") for name in ("lee", "moe", "noa")),
        ("push", "token-1"),
        *(("sms", phone) for phone in ("+1000", "+3000", "+4000", "+5000", "+6001", "+6002", "+6005", "+6008", "+6009", "+6010", "+7001")),
    ]


def test_an_address_has_all_its_reasons_and_the_times_of_each(lake: Lake) -> None:
    row = listed(lake, "ann@corp.example")
    assert row == {
        "channel": "email",
        "address": "ann@corp.example",
        "address_hash": hmac.new(PII_KEY.encode(), b"ann@corp.example", "sha256").hexdigest(),
        "reasons": ["complaint", "hard_bounce", "unsubscribe"],
        "first_reason": "hard_bounce",
        "first_evidence_at": at(0),
        "last_evidence_at": at(3),
        "newest_reason_at": at(3),
        "evidence_events": 4,
        "last_request_id": OTHER,
        "hard_bounced_at": at(0),
        "unsubscribed_at": at(1),
        "complained_at": at(3),
        "sms_stopped_at": None,
        "sms_invalid_at": None,
        "push_token_dead_at": None,
        "listed_at": NOON,
    }


def test_more_evidence_of_the_same_reason_is_nothing_new(lake: Lake) -> None:
    row = listed(lake, "token-1")
    assert (row["reasons"], row["evidence_events"], row["last_request_id"]) == (["dead_push_token"], 2, OTHER)
    assert (row["newest_reason_at"], row["last_evidence_at"]) == (at(0), NOON + timedelta(seconds=5))


def test_of_evidence_at_the_same_moment_the_greater_id_is_the_latest(lake: Lake) -> None:
    assert listed(lake, "dan@corp.example")["last_request_id"] == "b1-last"


def test_a_stop_that_was_taken_back_is_no_evidence(lake: Lake) -> None:
    """Of the three stops of +3000 the first was taken back after an hour."""
    row = listed(lake, "+3000")
    assert (row["reasons"], row["evidence_events"], row["first_evidence_at"], row["last_evidence_at"]) == (["sms_stop"], 2, at(3), at(4))
    assert (row["sms_stopped_at"], row["last_request_id"]) == (at(3), None)


def test_the_log_of_the_list_tells_no_address(lake: Lake) -> None:
    text = log_text(lake)
    assert '\\"newest_reason_at\\"' in text
    assert [address for address in ("corp.example", "+1000", "token-1", "0beec7b5ea3f0fdb") if address in text.lower()] == []


def key(channel: str, address: str) -> str:
    return f"{channel}:{hmac.new(PII_KEY.encode(), address.encode(), 'sha256').hexdigest()}"


def test_a_violation_is_an_attempt_after_evidence_that_stood(lake: Lake) -> None:
    rows = table(lake, "suppression_violations").filter(pl.col("request_id") == LATER)
    assert dict(rows.select("recipient_key", "reasons").rows()) == {
        "id:ann": ["complaint", "hard_bounce", "unsubscribe"],
        key("email", "ben@corp.example"): ["unsubscribe"],
        key("email", "dan@corp.example"): ["complaint"],
        "id:ivy": ["complaint"],
        "id:k1": ["unsubscribe"],
        "id:k2": ["unsubscribe"],
        key("email", "kim@corp.example"): ["unsubscribe"],
        **{key("email", f"{name}@corp.example"): ["unsubscribe"] for name in ("lee", "moe", "noa")},
        **{key("sms", phone): ["sms_stop"] for phone in ("+1000", "+3000", "+8000", "+9000")},
        key("device", "token-1"): ["dead_push_token"],
    }


def test_a_violation_says_what_was_known_and_for_how_long_and_not_of_whom(lake: Lake) -> None:
    """The evidence is of noon, one, two and three o'clock; the message went out ten days and a minute after the first of it."""
    row = one(table(lake, "suppression_violations"), request_id=LATER, recipient_key="id:ann")
    assert row == {
        "request_id": LATER,
        "channel": "email",
        "recipient_key": "id:ann",
        "mailbox_provider": "other",
        "address_hash": key("email", "ann@corp.example").removeprefix("email:"),
        "outcome": "delivered",
        "reasons": ["complaint", "hard_bounce", "unsubscribe"],
        "first_reason": "hard_bounce",
        "first_evidence_at": at(0),
        "last_evidence_at": at(3),
        "evidence_events": 4,
        "first_attempted_at": TENTH + timedelta(seconds=60),
        "seconds_since_first_evidence": 10 * 86_400 + 60.0,
    }


def test_a_violation_has_the_address_that_the_evidence_is_about(lake: Lake) -> None:
    row = one(table(lake, "suppression_violations"), request_id=LATER, recipient_key="id:ivy")
    assert row["address_hash"] == key("email", "ivy@home.example").removeprefix("email:")


def test_an_attempt_that_gives_a_reason_can_itself_be_one_too_many(lake: Lake) -> None:
    """Ann bounced at noon and left at one o'clock: at two another job had her bounce again. A token was found dead twice."""
    rows = table(lake, "suppression_violations").filter(pl.col("request_id") == OTHER).sort("channel")
    assert rows.select("recipient_key", "outcome", "reasons", "evidence_events").rows() == [
        (key("email", "ann@corp.example"), "bounced", ["hard_bounce", "unsubscribe"], 2),
        (key("device", "token-1"), "bounced", ["dead_push_token"], 1),
    ]


@pytest.mark.parametrize(("name", "outcome"), [("lee", "suppressed"), ("moe", "rejected"), ("noa", "render_failed")])
def test_a_message_that_was_put_off_and_then_not_sent_was_attempted(lake: Lake, name: str, outcome: str) -> None:
    """The build's own test of the outcomes allows it: where it did not, one such message failed every build of gold."""
    row = one(table(lake, "suppression_violations"), request_id=LATER, recipient_key=key("email", f"{name}@corp.example"))
    assert (row["outcome"], row["first_attempted_at"]) == (outcome, TENTH)


def test_an_attempt_of_no_job_is_a_message_of_its_own(lake: Lake) -> None:
    row = one(table(lake, "suppression_violations"), request_id=None)
    assert (row["recipient_key"], row["evidence_events"]) == ("activity:no-job", 4)


def test_two_events_of_different_types_may_have_one_id(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path / "lake"))
    of_lou: dict[str, Any] = {"request": JOB, "email": "lou@corp.example", "activity_id": "shared"}
    append(lake, [event(table_, **of_lou) for table_ in ("deliveries", "unsubscribes", "spam_complaints")])
    build(lake, select="suppression_list", data_tests=True)
    evidence = table(lake, "suppression_evidence").sort("suppression_reason")
    assert evidence.select("activity_id", "suppression_reason").rows() == [("shared", "complaint"), ("shared", "unsubscribe")]
    assert listed(lake, "lou@corp.example")["evidence_events"] == 2


def test_who_opts_out_under_one_id_is_not_written_to_under_another(tmp_path: Path) -> None:
    """Ids are not merged for an address in common, and need not be: the list and its violations are of addresses."""
    desk = "desk@corp.example"
    lake = Lake(str(tmp_path / "lake"))
    append(
        lake,
        [
            *(event("deliveries", number, request=JOB, recipient_id=f"d{number}", email=desk) for number in range(3)),
            event("unsubscribes", HOUR, request=JOB, recipient_id="d0", email=desk),
            event("deliveries", 2 * HOUR, request=OTHER, recipient_id="d1", email=desk),
        ],
    )
    build(lake, select="suppression_list suppression_violations fct_messages")
    assert table(lake, "fct_messages").filter(request_id=JOB).height == 3
    assert table(lake, "suppression_list").select("address", "reasons").rows() == [(desk, ["unsubscribe"])]
    assert one(table(lake, "suppression_violations"))["recipient_key"] == "id:d1"
