"""Why mail failed, what jobs got wrong, the channels beside e-mail and the feed itself: each number reckoned by hand."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import duckdb
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from jinja2 import Environment

from mg_lakehouse.gold.names import project_dir
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.settings import Settings
from mg_lakehouse.silver.update import flatten_new
from mg_lakehouse_tests.events.frames import bundle, item
from mg_lakehouse_tests.gold.helpers import NOON, append, build, event, one, replaced, table
from mg_lakehouse_tests.lake.feeds import START, receive

DAY: Final = timedelta(days=1)
TODAY: Final = NOON.date()
UNKNOWN: Final = "550 5.1.1 <{}>: Recipient address rejected: User unknown in virtual mailbox table"
MODELS: Final = (
    "bounce_reasons_daily", "job_errors", "render_errors", "sms_metrics", "push_metrics", "sms_inbound_daily", "engage_metrics_daily", "feed_health_hourly"
)  # fmt: skip


def bounced(address: str | None, details: str | None, **values: Any) -> Any:
    return event("bounces", email=address, details=details, **{"category_code": 10} | values)


def error(code: str | None, text: str | None) -> dict[str, str | None]:
    return {"error_code": code, "error_message": text}


MERGE: Final = "Error on line {}, column 10 in SUBJECT Expecting a string here, Expression Recipient.FirstNamex is missing"

TEXTS: Final[list[tuple[str, dict[str, Any]]]] = [
    ("+1", {"inbound_message_type": "STOP"}),
    ("+1", {"inbound_message_type": "STOP"}),
    ("+2", {"inbound_message": "Stop!"}),
    ("+3", {"inbound_message_type": "HELP"}),
    ("+3", {"inbound_message": "who is this"}),
    ("+4", {"inbound_message_type": "START"}),
]
FEED: Final = [
    # Two people of one server with one reason, one of them twice; another day; another server; another code.
    bounced("ann@yahoo.com", UNKNOWN.format("ann@yahoo.com")),
    bounced("ann@yahoo.com", UNKNOWN.format("ann@yahoo.com"), request="t2-other"),
    bounced("bob@yahoo.com", UNKNOWN.format("bob@yahoo.com")),
    bounced("bob@yahoo.com", UNKNOWN.format("bob@yahoo.com"), at=NOON + DAY),
    bounced("cat@corp.example", UNKNOWN.format("cat@corp.example")),
    bounced("dan@yahoo.com", "452-4.2.2 The mailbox (dan) is over quota at mx7.yahoo.com", category_code=22),
    # Without an address, a text and a known category.
    bounced(None, None, category_code=777, category="Gremlins"),
    # One template wrong at two places of its line; an event that names two errors; one that names none.
    event("render_errors", recipient_id="1", errors=[error("Template merge exception", MERGE.format(1))]),
    event("render_errors", 5, recipient_id="2", request="t2-other", errors=[error("Template merge exception", MERGE.format(27)), error(None, "boom")]),
    # A code and a text with the name that the event's own address has.
    event("render_errors", 6, email="ann.lee@corp.example", errors=[error("Greeting for Ann Lee", "no greeting for lee in BODY")]),
    event("sms_render_errors", recipient_id="3", errors=None),
    event("job_errors", errors=[error("Transfer Error", "Retrieving file: s3://mycompany/myfile-7.txt - The specified key does not exist.")]),
    event("job_errors", 60, request="t2-other", errors=[error("Transfer Error", "Retrieving file: s3://other/x.csv - The specified key does not exist.")]),
    event("job_errors", errors=[]),
    # Ten texts: six arrived, two numbers are none, one is blocked, one was cancelled and so never attempted.
    *(event("sms_deliveries", phone=f"+1{number}") for number in range(6)),
    *(event("sms_delivery_failures", phone=f"+2{number}", category="INVALID_ADDRESS") for number in range(2)),
    event("sms_delivery_failures", phone="+30", category="ADDRESS_BLOCKED"),
    event("sms_delivery_failures", phone="+40", category="JOB_CANCELLED"),
    # Apple: three arrived, one token expired. Google: one arrived, one failed for good, one may be tried again.
    *(event("mobile_push_deliveries", device=f"a{number}", service="APNS") for number in range(3)),
    event("mobile_push_delivery_failures", device="a9", service="APNS", category="EXPIRED"),
    event("mobile_push_deliveries", device="g1", service="FCM"),
    event("mobile_push_delivery_failures", device="g2", service="FCM", category="FAILURE_PERMANENT"),
    event("mobile_push_delivery_failures", device="g3", service="FCM", category="TRANSIENT_FAILURE"),
    *(event("sms_inbounds", request=None, phone=phone, destination_sms_number="55501", **values) for phone, values in TEXTS),
    # Three records of 10 bytes, of 1, 2 and 10 minutes; one without a time; one that was not there.
    *(event("context_hits", vendor="shop", prefix="cart", record_size=10, updated_at=NOON - timedelta(minutes=age)) for age in (1, 2, 10)),
    event("context_hits", vendor="shop", prefix="cart"),
    event("context_misses", vendor="shop", prefix="cart"),
    event("context_misses", vendor=None, prefix=" "),
]  # fmt: skip


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    lake = Lake(str(tmp_path_factory.mktemp("failures") / "lake"))
    append(lake, FEED)
    build(lake, select=" ".join(MODELS), data_tests=True)
    return lake


REASON: Final = "# recipient address rejected user unknown in virtual mailbox table"


def test_a_reason_is_one_whoever_it_was_about(lake: Lake) -> None:
    row = one(table(lake, "bounce_reasons_daily"), event_date=TODAY, mailbox_provider="yahoo", category_key="10")
    assert row == {
        "event_date": TODAY,
        "mailbox_provider": "yahoo",
        "category_key": "10",
        "category": "Invalid Recipient",
        "class": "hard",
        "counts_as": "hard",
        "smtp_code": 550,
        "enhanced_status": "5.1.1",
        "reason_fingerprint": REASON,
        "events": 3,
        "addresses": 2,
        "jobs": 2,
        "first_seen_at": NOON,
        "last_seen_at": NOON,
    }
    others = (
        table(lake, "bounce_reasons_daily")
        .select("event_date", "mailbox_provider", "smtp_code", "enhanced_status", "reason_fingerprint", "events")
        .rows()
    )
    assert set(others) == {
        (TODAY, "yahoo", 550, "5.1.1", REASON, 3),
        (TODAY + DAY, "yahoo", 550, "5.1.1", REASON, 1),
        (TODAY, "other", 550, "5.1.1", REASON, 1),
        (TODAY, "yahoo", 452, "4.2.2", "# the mailbox # is over quota at #", 1),
        (TODAY, "unknown", None, None, "(none)", 1),
    }


def test_an_error_is_one_wherever_in_the_template_and_for_whichever_file(lake: Lake) -> None:
    errors = table(lake, "render_errors")
    merge = one(errors, error_code="Template merge exception")
    assert (merge["template_part"], merge["expression"], merge["messages"], merge["jobs"]) == ("SUBJECT", "Recipient.FirstNamex", 2, 2)
    assert merge["newest_request_id"] == "t2-other"
    assert one(errors, channel="email", error_code="(none)")["error_fingerprint"] == "boom"
    assert one(errors, error_code="greeting for #")["error_fingerprint"] == "no greeting for # in body"
    assert one(errors, channel="sms")["error_fingerprint"] == "(none)"
    jobs = table(lake, "job_errors").sort("error_code").select("error_code", "error_fingerprint", "events", "jobs").rows()
    assert jobs == [
        ("(none)", "(none)", 1, 1),
        ("Transfer Error", "retrieving file # - the specified key does not exist.", 2, 2),
    ]


def test_texts_of_a_job(lake: Lake) -> None:
    row = one(table(lake, "sms_metrics"), request_id="t06926-job")
    counts = {name: value for name, value in row.items() if isinstance(value, int) and value}
    assert counts == {
        "targeted": 11,
        "attempted": 9,
        "accepted": 6,
        "bounced": 3,
        "rejected": 1,
        "render_failed": 1,
        "invalid_addresses": 2,
        "addresses_blocked": 1,
        "cancelled": 1,
    }
    assert (row["delivery_rate"], row["invalid_address_rate"]) == pytest.approx((6 / 9, 2 / 9))


def test_push_messages_of_a_job_by_service(lake: Lake) -> None:
    rows = table(lake, "push_metrics")
    apple, google = one(rows, service="apns"), one(rows, service="fcm")
    assert (apple["targeted"], apple["accepted"], apple["dead_tokens"], apple["dead_token_rate"]) == (4, 3, 1, 0.25)
    assert (google["attempted"], google["bounced"], google["deferred"], google["dead_tokens"]) == (3, 1, 1, 1)


def test_texts_that_came_in(lake: Lake) -> None:
    rows = table(lake, "sms_inbound_daily").select("inbound_type", "events", "senders").rows()
    assert set(rows) == {("stop", 3, 2), ("help", 1, 1), ("other", 1, 1), ("start", 1, 1)}


def test_what_engage_had(lake: Lake) -> None:
    row = one(table(lake, "engage_metrics_daily"), vendor="shop", prefix="cart")
    assert (row["requests"], row["hits"], row["misses"], row["hit_rate"], row["record_bytes"]) == (5, 4, 1, 0.8, 30)
    # Of the three ages half do not exceed 2 minutes, nine tenths not 10.
    assert (row["record_age_seconds_p50"], row["record_age_seconds_p90"]) == (120, 600)
    nothing = one(table(lake, "engage_metrics_daily"), vendor="(none)", prefix="(none)")
    assert (nothing["hit_rate"], nothing["record_age_seconds_p50"]) == (0.0, None)


def test_a_refresh_makes_the_touched_day_anew_and_no_other(lake: Lake) -> None:
    append(lake, [bounced("eve@yahoo.com", UNKNOWN.format("eve@yahoo.com"), at=NOON + DAY)], received=NOON + DAY)
    build(lake, select=" ".join(MODELS), data_tests=True)
    assert one(table(lake, "bounce_reasons_daily"), event_date=TODAY + DAY)["events"] == 2
    assert str(replaced(lake, "bounce_reasons_daily")) == "event_date = '2026-03-11'::date"
    assert str(replaced(lake, "feed_health_hourly")) == "received_date = '2026-03-11'::date"


def click(activity: str, at: datetime) -> str:
    return item("ClickActivity", ActivityId=activity, Timestamp=at.strftime("%Y-%m-%dT%H:%M:%SZ"))


def test_the_health_of_the_feed_hour_by_hour(tmp_path: Path) -> None:
    """A real feed: two hours, a copy in each and one of a message that came before, a reject, and lags of a minute to two days."""
    lake = Lake(str(tmp_path / "lake"))
    lags = [60, 60, 120, 172_800]
    clicks = [click(f"c{number}", START - timedelta(seconds=lag)) for number, lag in enumerate(lags)]
    receive(lake, [bundle(*clicks, clicks[0]), bundle("<ClickActivity><ActivityId>x</ActivityId></ClickActivity>")], received_at=START)
    flatten_new(lake)
    build(lake, select="feed_health_hourly", data_tests=True)
    receive(
        lake, [bundle(clicks[1], clicks[2], click("late", START + timedelta(hours=2)))], first=2, received_at=START + timedelta(hours=1)
    )
    flatten_new(lake)
    for _ in range(2):
        build(lake, select="feed_health_hourly", data_tests=True)
    rows = table(lake, "feed_health_hourly")
    first, second = (one(rows, received_hour=START + timedelta(hours=hour), event_type="clicks") for hour in (0, 1))
    assert first == {
        "received_hour": START,
        "received_date": START.date(),
        "event_type": "clicks",
        "received_rows": 4,
        "duplicates": 1,
        "late_rows": 1,
        "oldest_event_at": START - timedelta(days=2),
        "lag_seconds_p50": 60,
        "lag_seconds_p95": 172_800,
        "lag_seconds_max": 172_800,
    }
    # A time to come is no lag below nothing.
    assert (second["received_rows"], second["duplicates"], second["lag_seconds_max"]) == (1, 2, 0)
    assert one(rows, event_type="rejected_items")["received_rows"] == 1
    build(lake, full_refresh=True, select="feed_health_hourly")
    assert sorted(table(lake, "feed_health_hourly").rows(), key=repr) == sorted(rows.rows(), key=repr)


LOCAL: Final = st.from_regex(r"[a-z]{2,8}([._+-][a-z]{2,8})?", fullmatch=True)
AROUND: Final = st.sampled_from(
    [
        "<{}>",
        "{}",
        "({})",
        "'{}'",
        '"{}"',
        "to={}",
        "{}:",
        "<{}>,",
        "[{}]",
        "https://x.example/?u={}",
        "mailto:{}",
        "{};",
        "user {} unknown",
        "rcpt=<{}>",
    ]
)


@examples(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None)
@given(
    people=st.lists(
        st.tuples(LOCAL, AROUND, st.sampled_from(["{local}@{domain}", "{local}%40{domain}", "{local}"])),
        min_size=8,
        max_size=16,
        unique_by=lambda one: one[0],
    )
)
def test_nothing_of_a_person_is_in_a_reason(people: list[tuple[str, str, str]]) -> None:
    words = {"550", "is", "not", "known", "here", "user", "unknown", "rcpt", "to", "mailto", "example", "https", "x", "u", "in", "on", "at"}
    chosen = [each for each in people if each[0] not in words]
    rows = []
    for local, around, form in chosen:
        address = f"{local}@corp.example"
        rows.append((f"550 {around.format(form.format(local=local, domain='corp.example'))} is not here", address))
    found = fingerprints(rows)
    leaked = [
        (text, local)
        for text, (local, _, _) in zip(found, chosen, strict=True)
        if names_in(local) & (set(re.findall("[a-z]+", text)) - words) or (len(local) > 3 and local in text)
    ]
    assert leaked == []


def names_in(local: str) -> set[str]:
    return {local} | {part for part in re.findall("[a-z]+", local) if len(part) > 2}


PLANTED: Final = {
    # By text, with the address of the event: what remains.
    ("550 user=ann, unknown", "ann@corp.example"): "# unknown",
    ("550 mailbox/ann full", "ann@corp.example"): "# full",
    ("550 ann ann unknown", "ann@corp.example"): "# unknown",
    ("550 no such user, see ann's box", "ann@corp.example"): "# no such user # box",
    ("550 to Joe Bloggs <joe.bloggs@corp.example> refused", "joe.bloggs@corp.example"): "# to # refused",
    ('550 "joe \\"x\\" bloggs"@corp.example unknown', '"joe \\"x\\" bloggs"@corp.example'): "# unknown",
    ("550 J%6Fe%40corp.example unknown", "joe@corp.example"): "# unknown",
    ("550 bücher joe@bücher.example unknown", "joe@bücher.example"): "# unknown",
    ("550 юзер@пример.рф unknown", "юзер@пример.рф"): "# unknown",
    ("550 no mail for joe at all", "joe@corp.example"): "# no mail for # at all",
    # Where the event does not say whom it is about.
    ("550 user jbloggs unknown", None): "# user # unknown",
    ("550 <jbloggs>: no such user", "0beec7b5ea3f0fdb"): "# no such user",
    ("550 jbloggs (at) corp.example unknown", None): "# unknown",
    ("550 jbloggs @ corp.example unknown", None): "# unknown",
    ("421 queued as AbCdEfGhIjKlMnOp", None): "# queued as #",
    ("450 queue id deadbeefcafe", None): "# queue id #",
    # What names nobody stays.
    ("550 recipient address rejected: mailbox unavailable", None): "# recipient address rejected mailbox unavailable",
    ("AmazonClientException retrieving file", None): "amazonclientexception retrieving file",
    ("  ", "ann@corp.example"): "(none)",
    ("", None): "(none)",
}


def test_a_name_is_taken_out_wherever_it_hides() -> None:
    assert dict(zip(PLANTED, fingerprints(list(PLANTED)), strict=True)) == PLANTED


@pytest.mark.parametrize(
    ("text", "code", "status"),
    [
        ("550-5.1.1 no such user", 550, "5.1.1"),
        ("smtp;550 #5.1.0 rejected", 550, "5.1.0"),
        ("host mx.corp.example[10.0.0.1] said: 421 4.7.0 later", 421, "4.7.0"),
        ("Error code 550.", 550, None),
        ("550 5.1.1. User unknown", 550, "5.1.1"),
        ("(4.2.2) over quota", None, "4.2.2"),
        ("message larger than 512 kilobytes", None, None),
        ("Exim 4.94.2: 451 try later", 451, None),
        ("connection to [4.5.6.7] failed", None, None),
        ("690 5.9.1 no such class", None, None),
        (None, None, None),
    ],
)
def test_a_code_is_one_only_where_a_server_writes_it(text: str | None, code: int | None, status: str | None) -> None:
    assert made_by("{{ smtp_code('text') }}, {{ enhanced_status('text') }}", [(text, None)]) == [(code, status)]


@pytest.mark.parametrize(
    ("code", "message", "expected"),
    [
        ("Template merge exception", MERGE.format(1), ("Template merge exception", "SUBJECT", "Recipient.FirstNamex")),
        ("No ann@corp.example", 'wrong in the Expression "ann@corp.example"', ("no #", None, None)),
        ("Call 555-000-1111", "", ("call #", None, None)),
        ("ANN 42 MAIN STREET 7", "", ("ann # main street #", None, None)),
        ("HTTP 500 Server Error", "", ("HTTP 500 Server Error", None, None)),
        ("ann%40corp.example", "", ("#", None, None)),
        ("<ann at corp>", "", ("#", None, None)),
        ("ann (at) corp.example", "", ("#", None, None)),
        ("+1 555 000 1111", "", ("#", None, None)),
        ("Tel:15550001111", "", ("tel #", None, None)),
        ("E-404", 'in HTML, Expression Map["ann@corp.example"].x is missing', ("E-404", "HTML", None)),
        (" ", "Expression ann@corp.example is missing", ("(none)", None, None)),
        (None, "Expression ann%40corp.example is missing", ("(none)", None, None)),
        ("x", "Expression Recipient.Points?number is missing", ("x", None, "Recipient.Points?number")),
    ],
)
def test_nothing_of_a_person_is_in_a_code_or_an_expression(code: str | None, message: str, expected: tuple[str | None, ...]) -> None:
    macros = "{{ error_code('address') }}, {{ template_part('text') }}, {{ template_expression('text') }}"
    assert made_by(macros, [(message, code)]) == [expected]


def fingerprints(rows: Sequence[tuple[str, str | None]]) -> list[str]:
    """What the steps of the staging of bounces make of texts and addresses."""
    macros = """
        {% set own = local_part("address") %}
        {{ reason_fingerprint(without_names(without_local_part(reason_words("text"), own), local_names(own))) }}
    """
    return [str(row[0]) for row in made_by(macros, rows)]


def made_by(macros: str, rows: Sequence[tuple[str | None, str | None]]) -> list[tuple[Any, ...]]:
    """What the project's own macros make of texts and addresses."""
    source = (project_dir(Settings()) / "macros" / "reasons.sql").read_text()
    expressions = Environment(autoescape=False).from_string(source + macros).render().strip()
    with duckdb.connect() as connection:
        connection.execute("create table rows (number integer, text varchar, address varchar)")
        connection.executemany("insert into rows values (?, ?, ?)", [(number, *row) for number, row in enumerate(rows)])
        return connection.execute(f"select {expressions} from rows order by number").fetchall()
