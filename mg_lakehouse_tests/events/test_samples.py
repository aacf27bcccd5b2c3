"""The 17 sample payloads of the event feed document, verbatim: every field in its column, and no other column filled.

Expected values are copied from the document by hand; times are converted to UTC by hand (-04:00 means four hours later).
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest

from mg_lakehouse.events.catalogue import columns_of
from mg_lakehouse.testing.samples import samples
from mg_lakehouse_tests.events.frames import RECEIVED_AT, flat, only_row

MAC = "Mozilla/5.0 (Macintosh; U; Intel Mac OS X 10_6_4; en-us) AppleWebKit/533.17.8 (KHTML, like Gecko) Version/5.0.1 Safari/533.17.8"
ACTIVITY = "57e01e05-f10c-48aa-bd29-8a0912e72d40"
JOB = "My Job Id: 101010"
MERGE = (
    "Error on line 1, column 10 in {} Expecting a string, date or number here, "
    "Expression Recipient.FirstNamex is instead a freemarker.ext.dom.NodeListModel"
)


def sample(number: int) -> str:
    (found,) = (body for name, body in samples().items() if name.startswith(f"{number:02d}_"))
    return found


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[arg-type, misc]


def expect(table: str, number: int, **values: Any) -> None:
    """The sample gives one row with these values, the lineage of the only message, and null everywhere else."""
    row = only_row(flat(sample(number)), table)
    lineage = {
        "source": "event_feed",
        "message_id": "m0",
        "item_index": 0,
        "received_at": RECEIVED_AT,
        "received_date": date(2026, 3, 1),
    }
    assert row == {column.name: None for column in columns_of(table)} | lineage | values


def test_01_click() -> None:
    expect(
        "clicks",
        1,
        activity_id=ACTIVITY,
        event_at=utc(2010, 9, 14, 19, 50, 19, 491_000),
        event_date=date(2010, 9, 14),
        utc_offset_minutes=-240,
        request_id="t25710-07bc4beb-34de-44d1-85b0-d27628a78b2c",
        correlation_id=JOB,
        email_address="joe@gmail.com",
        ip_address="74.60.196.56",
        user_agent=MAC,
        is_microsite=True,
        url="http://www.mycompany.com",
        url_name="Home Page",
    )


def test_02_open() -> None:
    expect(
        "opens",
        2,
        activity_id=ACTIVITY,
        event_at=utc(2010, 9, 14, 19, 49, 16, 64_000),
        event_date=date(2010, 9, 14),
        utc_offset_minutes=-240,
        request_id="t25710-07bc4beb-34de-44d1-85b0-d27628a78b2c",
        correlation_id=JOB,
        email_address="joe@gmail.com",
        ip_address="74.60.196.56",
        user_agent=MAC,
        is_microsite=True,
    )


def test_03_delivery() -> None:
    expect(
        "deliveries",
        3,
        activity_id=ACTIVITY,
        event_at=utc(2010, 9, 13, 22, 51),
        event_date=date(2010, 9, 13),
        utc_offset_minutes=-240,
        request_id="t25610-3147e501-c83f-42a5-b638-c476e1237a65",
        correlation_id=JOB,
        email_address="joe@gmail.com",
        ip_address="74.125.47.27",
    )


def test_04_bounce() -> None:
    expect(
        "bounces",
        4,
        activity_id=ACTIVITY,
        event_at=utc(2010, 9, 13, 23, 10, 54),
        event_date=date(2010, 9, 13),
        utc_offset_minutes=-240,
        request_id="t25610-2d7e1a55-f161-4af1-8f33-c994a0327a8b",
        correlation_id=JOB,
        email_address="joe@gmail.com",
        ip_address="74.125.47.27",
        category="Invalid Recipient",
        category_code=10,
        details="550-5.1.1 The email account that you tried to reach does not exist.",
    )


def test_05_unsubscribe() -> None:
    expect(
        "unsubscribes",
        5,
        activity_id=ACTIVITY,
        event_at=utc(2010, 9, 15, 20, 14, 46, 878_000),
        event_date=date(2010, 9, 15),
        utc_offset_minutes=-240,
        request_id="t25810-eec987c5-085b-4d40-a4ce-24a5850638a5",
        correlation_id=JOB,
        email_address="joe@gmail.com",
        ip_address="128.234.11.12",
        user_agent=MAC,
    )


def test_06_spam_complaint() -> None:
    expect(
        "spam_complaints",
        6,
        activity_id=ACTIVITY,
        event_at=utc(2010, 9, 15, 20, 14, 46, 878_000),
        event_date=date(2010, 9, 15),
        utc_offset_minutes=-240,
        request_id="t25810-eec987c5-085b-4d40-a4ce-24a5850638a5",
        correlation_id=JOB,
        email_address="joe@gmail.com",
        isp="gmail.com",
    )


def test_07_job_error() -> None:
    expect(
        "job_errors",
        7,
        activity_id=ACTIVITY,
        event_at=utc(2010, 9, 14, 17, 20, 36, 994_000),
        event_date=date(2010, 9, 14),
        utc_offset_minutes=-240,
        request_id="t25710-9540c8d8-aa5d-44d7-a9ef-a334072df515",
        correlation_id=JOB,
        errors=[
            {
                "error_code": "Transfer Error",
                "error_message": "AmazonClientException retrieving file: s3://mycompany/myfile.txt - The specified key does not exist.",
            }
        ],
    )


def test_08_render_error() -> None:
    expect(
        "render_errors",
        8,
        activity_id=ACTIVITY,
        event_at=utc(2010, 9, 13, 23, 13, 46, 220_000),
        event_date=date(2010, 9, 13),
        utc_offset_minutes=-240,
        request_id="t25610-0b74f4c6-fe21-411f-bba9-82818bf1c31b",
        correlation_id=JOB,
        email_address="joe@gmail.com",
        errors=[{"error_code": "Template merge exception", "error_message": MERGE.format("SUBJECT")}],
    )


def test_09_push_delivery() -> None:
    expect(
        "mobile_push_deliveries",
        9,
        activity_id=ACTIVITY,
        event_at=utc(2010, 9, 13, 22, 51),
        event_date=date(2010, 9, 13),
        utc_offset_minutes=-240,
        request_id="t25610-3147e501-c83f-42a5-b638-c476e1237a65",
        correlation_id=JOB,
        device_id="123456789",
        service="APNS",
        application_id="12345",
        push_delivery_service="AWS Pinpoint",
    )


def test_10_push_delivery_failure() -> None:
    expect(
        "mobile_push_delivery_failures",
        10,
        activity_id=ACTIVITY,
        event_at=utc(2010, 9, 13, 23, 10, 54),
        event_date=date(2010, 9, 13),
        utc_offset_minutes=-240,
        request_id="t25610-2d7e1a55-f161-4af1-8f33-c994a0327a8b",
        correlation_id=JOB,
        device_id="12345678",
        service="APNS",
        application_id="12345",
        push_delivery_service="AWS Pinpoint",
        category='AWS Pinpoint Category, such as "TRANSIENT_FAILURE"',
        details="A temporary error occurred. MessageGears will attempt to deliver the message again later.",
    )


def test_11_push_render_error() -> None:
    expect(
        "mobile_push_render_errors",
        11,
        activity_id=ACTIVITY,
        event_at=utc(2010, 9, 13, 23, 13, 46, 220_000),
        event_date=date(2010, 9, 13),
        utc_offset_minutes=-240,
        request_id="t25610-0b74f4c6-fe21-411f-bba9-82818bf1c31b",
        correlation_id=JOB,
        device_id="12345678",
        service="APNS",
        application_id="12345",
        errors=[{"error_code": "Template merge exception", "error_message": MERGE.format("SUBJECT")}],
    )


def test_13_sms_render_error() -> None:
    expect(
        "sms_render_errors",
        13,
        activity_id=ACTIVITY,
        event_at=utc(2010, 9, 13, 23, 13, 46, 220_000),
        event_date=date(2010, 9, 13),
        utc_offset_minutes=-240,
        request_id="t25610-0b74f4c6-fe21-411f-bba9-82818bf1c31b",
        correlation_id=JOB,
        sms_address="12345678",
        errors=[{"error_code": "Template merge exception", "error_message": MERGE.format("BODY")}],
    )


def test_14_sms_delivery_failure() -> None:
    expect(
        "sms_delivery_failures",
        14,
        activity_id=ACTIVITY,
        event_at=utc(2010, 9, 13, 23, 10, 54),
        event_date=date(2010, 9, 13),
        utc_offset_minutes=-240,
        request_id="t25610-2d7e1a55-f161-4af1-8f33-c994a0327a8b",
        correlation_id=JOB,
        sms_address="12345678",
        category='Sms Failure category, such as "INVALID_ADDRESS"',
        details="The phone number you have attempted to send to is not valid or unrecognizable to our system.",
    )


ENGAGE = {
    "activity_id": "496517a3-1687-4d95-1011-ccd93ff7f540",
    "event_at": utc(2020, 9, 22, 16, 59, 39),
    "event_date": date(2020, 9, 22),
    "utc_offset_minutes": 0,
    "account_id": "23295228",
    "request_id": "t25610-2d7e1a55-f161-4af1-8f33-c994a0327a8b",
    "correlation_id": "Your Correlation Id",
    "recipient_id": "Your Recipient Id",
    "ip_address": "1.2.3.4",
    "vendor": "2",
    "prefix": "DEMO2",
    "record_id": "DEMO2-ofYlGLFP9e5HfcfI40l6TFoJtouGecQIr8nT",
}


def test_16_context_hit() -> None:
    stamp = utc(2020, 9, 9, 16, 38, 10)
    expect("context_hits", 16, **ENGAGE, record_size=4107, created_at=stamp, updated_at=stamp)


def test_17_context_miss_named_a_hit_is_known_by_its_shape() -> None:
    expect("context_misses", 17, **ENGAGE, is_inferred=True)


@pytest.mark.parametrize(
    ("number", "element", "tags"),
    [(12, "DeliveredSmsActivity", ("SmsAddress", "DeviceId")), (15, "InboundSmsActivity", ("InboundSmsActivity", "InboundsmsActivity"))],
)
def test_12_and_15_are_malformed_as_published_and_rejected(number: int, element: str, tags: tuple[str, str]) -> None:
    """12 closes <SmsAddress> with </DeviceId>, 15 closes <InboundSmsActivity> with </InboundsmsActivity>."""
    flattened = flat(sample(number))
    assert not flattened.tables
    (rejected,) = flattened.rejected.to_dicts()
    text = sample(number)
    item = text[text.index(f"<{element}>") : text.index("</ActivityItems>")].rstrip()
    detail = rejected.pop("detail")
    assert rejected == {
        "message_id": "m0",
        "item_index": 0,
        "element": element,
        "reason": "malformed_xml",
        "fragment": item,
        "source": "event_feed",
        "received_at": RECEIVED_AT,
        "received_date": date(2026, 3, 1),
    }
    assert all(tag in detail for tag in tags)


@pytest.mark.parametrize("number", [12, 15])
def test_the_siblings_of_12_and_15_are_kept(number: int) -> None:
    def inside(text: str) -> str:
        return text.removeprefix("<ActivityItems>\n").removesuffix("</ActivityItems>\n").removesuffix("</ActivityItems>")

    body = f"<ActivityItems>\n{inside(sample(1))}{inside(sample(number))}{inside(sample(4))}</ActivityItems>"
    flattened = flat(body)
    assert {table: rows["item_index"].to_list() for table, rows in flattened.tables.items()} == {"clicks": [0], "bounces": [2]}
    assert flattened.rejected["item_index"].to_list() == [1]
    assert flattened.items == 3
