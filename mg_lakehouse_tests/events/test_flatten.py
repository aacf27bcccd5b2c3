"""What the flattening does with everything that the document does not show."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime

import pytest

from mg_lakehouse_tests.events.frames import bundle, flat, item, only_row


@pytest.mark.parametrize("version", ["3.0", "3.1", "3.2", "9.9"])
def test_any_namespace_gives_the_same_row(version: str) -> None:
    plain = bundle(item("ClickActivity", Url="http://x.example/?a=1&amp;b=2", Campaign="<b>x</b>"))
    namespace = f"http://messagegears.com/{version}/webService"
    default = plain.replace("<ActivityItems>", f'<ActivityItems xmlns="{namespace}">')
    prefixed = plain.replace("</", "</mg:").replace("<", "<mg:").replace("<mg:/mg:", "</mg:")
    prefixed = prefixed.replace("<mg:ActivityItems>", f'<mg:ActivityItems xmlns:mg="{namespace}">')
    expected = only_row(flat(plain), "clicks")
    assert expected["url"] == "http://x.example/?a=1&b=2"
    assert only_row(flat(default), "clicks") == expected
    assert only_row(flat(prefixed), "clicks") == expected


def test_the_order_of_children_makes_no_difference() -> None:
    children = [
        "<ActivityId>a1</ActivityId>",
        "<Timestamp>2026-02-28T10:00:00Z</Timestamp>",
        "<Url>u</Url>",
        "<New>1</New>",
        "<Other>2</Other>",
    ]
    forwards = only_row(flat(bundle("<ClickActivity>", *children, "</ClickActivity>")), "clicks")
    backwards = only_row(flat(bundle("<ClickActivity>", *reversed(children), "</ClickActivity>")), "clicks")
    assert forwards == backwards


def test_unknown_repeated_and_nested_children_are_rescued() -> None:
    body = bundle(
        "<OpenActivity><ActivityId>a1</ActivityId><Timestamp>2026-02-28T10:00:00Z</Timestamp>"
        "<EmailAddress>first@x.example</EmailAddress><EmailAddress>second@x.example</EmailAddress><EmailAddress/>"
        "<Device><Model>X &amp; Y</Model></Device><Lang> en </Lang></OpenActivity>"
    )
    row = only_row(flat(body), "opens")
    assert row["email_address"] == "first@x.example"
    assert json.loads(row["_rescued_data"]) == {
        "EmailAddress": ["second@x.example", ""],
        "Device": "<Model>X &amp; Y</Model>",
        "Lang": "en",
    }


def test_white_space_is_removed_and_nothing_is_null() -> None:
    row = only_row(flat(bundle(item("OpenActivity", EmailAddress=" \n a@x.example\t", IpAddress="  ", UserAgent=""))), "opens")
    assert (row["email_address"], row["ip_address"], row["user_agent"]) == ("a@x.example", None, None)


def test_comments_cdata_and_character_references_are_text() -> None:
    row = only_row(flat(bundle(item("ClickActivity", UrlName="a<!-- no -->b<![CDATA[ <&> ]]>&#233;&#x1F600;"))), "clicks")
    assert row["url_name"] == "ab <&> é😀"


@pytest.mark.parametrize(("text", "number"), [("0", 0), ("+7", 7), ("-3", -3), ("0010", 10), (str(2**63 - 1), 2**63 - 1)])
def test_numbers(text: str, number: int) -> None:
    row = only_row(flat(bundle(item("BouncedMessageActivity", CategoryCode=text))), "bounces")
    assert (row["category_code"], row["_rescued_data"]) == (number, None)


@pytest.mark.parametrize("text", ["ten", "1.0", "1e3", str(2**63), "0x10", "1 0", "--1"])
def test_a_number_that_does_not_parse_is_null_and_kept(text: str) -> None:
    row = only_row(flat(bundle(item("BouncedMessageActivity", CategoryCode=text))), "bounces")
    assert row["category_code"] is None
    assert json.loads(row["_rescued_data"]) == {"CategoryCode": text}


def test_a_number_that_does_not_parse_stands_before_its_repetitions() -> None:
    body = bundle(item("BouncedMessageActivity", CategoryCode="x").replace("</Bounced", "<CategoryCode>10</CategoryCode></Bounced"))
    row = only_row(flat(body), "bounces")
    assert (row["category_code"], json.loads(row["_rescued_data"])) == (None, {"CategoryCode": ["x", "10"]})


@pytest.mark.parametrize(
    ("text", "value"), [("true", True), ("1", True), ("TRUE", True), ("false", False), ("0", False), ("yes", None), ("2", None)]
)
def test_booleans(text: str, value: bool | None) -> None:
    row = only_row(flat(bundle(item("OpenActivity", Microsite=text))), "opens")
    assert row["is_microsite"] is value
    assert row["_rescued_data"] == (None if value is not None else json.dumps({"Microsite": text}))


@pytest.mark.parametrize(
    ("text", "moment", "offset"),
    [
        ("2010-09-14T15:50:19.491-04:00", datetime(2010, 9, 14, 19, 50, 19, 491_000, UTC), -240),
        ("2026-01-01T00:30:00+05:30", datetime(2025, 12, 31, 19, 0, 0, 0, UTC), 330),
        ("2026-01-01T00:00:00Z", datetime(2026, 1, 1, 0, 0, 0, 0, UTC), 0),
        ("2026-01-01T00:00:00-00:00", datetime(2026, 1, 1, 0, 0, 0, 0, UTC), 0),
        ("2026-01-01T00:00:00", datetime(2026, 1, 1, 0, 0, 0, 0, UTC), None),
        ("2026-01-01T23:59:59.9999999Z", datetime(2026, 1, 1, 23, 59, 59, 999_999, UTC), 0),
        ("2026-01-01T10:00:00.5Z", datetime(2026, 1, 1, 10, 0, 0, 500_000, UTC), 0),
        ("2025-12-31T24:00:00Z", datetime(2026, 1, 1, 0, 0, 0, 0, UTC), 0),
        ("2024-02-29T12:00:00+14:00", datetime(2024, 2, 28, 22, 0, 0, 0, UTC), 840),
    ],
)
def test_timestamps(text: str, moment: datetime, offset: int | None) -> None:
    row = only_row(flat(bundle(item("OpenActivity", Timestamp=text))), "opens")
    assert (row["event_at"], row["utc_offset_minutes"], row["event_date"]) == (moment, offset, moment.date())


@pytest.mark.parametrize(
    "text",
    [
        "yesterday",
        "2026-02-30T10:00:00Z",
        "2025-02-29T10:00:00Z",
        "2026-01-01",
        "2026-01-01T25:00:00Z",
        "2026-01-01T10:60:00Z",
        "2026-01-01T24:00:01Z",
        "2026-01-01T10:00:00+15:00",
        "2026-01-01T10:00:00+05:99",
        "01/02/2026 10:00:00",
        "02.01.2026 10:00",
        "1.7672256E+09",
        "2026010110",
        "46023.41667",
    ],
)
def test_an_item_without_a_usable_time_is_rejected_alone(text: str) -> None:
    bad = item("OpenActivity", Timestamp=text)
    flattened = flat(bundle(item("OpenActivity"), bad, item("ClickActivity")))
    assert {table: rows["item_index"].to_list() for table, rows in flattened.tables.items()} == {"opens": [0], "clicks": [2]}
    (rejected,) = flattened.rejected.to_dicts()
    assert (rejected["reason"], rejected["element"], rejected["item_index"]) == ("invalid_timestamp", "OpenActivity", 1)
    assert rejected["fragment"] == bad


@pytest.mark.parametrize(
    ("text", "moment", "offset"),
    [
        ("2026-01-01 10:00:00", datetime(2026, 1, 1, 10, tzinfo=UTC), None),
        ("2016-08-01 14:06:01-0400", datetime(2016, 8, 1, 18, 6, 1, tzinfo=UTC), -240),  # PowerMTA
        ("2026-01-01 10:00:00.123 -0500", datetime(2026, 1, 1, 15, 0, 0, 123_000, tzinfo=UTC), -300),  # Snowflake
        ("2026-01-01 10:00:00.123456 UTC", datetime(2026, 1, 1, 10, 0, 0, 123_456, tzinfo=UTC), 0),  # BigQuery
        ("2026-01-01 10:00:00+05", datetime(2026, 1, 1, 5, tzinfo=UTC), 300),  # PostgreSQL
        ("2026-01-01T10:00:00-05:00[America/New_York]", datetime(2026, 1, 1, 15, tzinfo=UTC), -300),  # Java
        ("2026-01-01t10:00:00,5z", datetime(2026, 1, 1, 10, 0, 0, 500_000, tzinfo=UTC), 0),
        ("2026-01-01T10:00+0000", datetime(2026, 1, 1, 10, tzinfo=UTC), 0),
        ("20260101T100000Z", datetime(2026, 1, 1, 10, tzinfo=UTC), 0),
        ("1767225600", datetime(2026, 1, 1, tzinfo=UTC), 0),
        ("1767225600123", datetime(2026, 1, 1, 0, 0, 0, 123_000, tzinfo=UTC), 0),
        ("1767225600123456", datetime(2026, 1, 1, 0, 0, 0, 123_456, tzinfo=UTC), 0),
        ("1767225600.25", datetime(2026, 1, 1, 0, 0, 0, 250_000, tzinfo=UTC), 0),
    ],
)
def test_a_time_in_another_form_is_read_where_it_can_mean_one_instant_only(text: str, moment: datetime, offset: int | None) -> None:
    row = only_row(flat(bundle(item("ContextHitActivity", Timestamp=text, CreateTimestamp=text, RecordId="r"))), "context_hits")
    assert (row["event_at"], row["utc_offset_minutes"], row["event_date"]) == (moment, offset, moment.date())
    assert (row["created_at"], row["_rescued_data"]) == (moment, None)


@pytest.mark.parametrize("illegal", ["\x00", "\x0b", "\x1f", "\ufffe", "&#0;", "&#x1F;", "&#xFFFF;", "&#xD800;", "&#9999999;"])
@pytest.mark.parametrize("text", ["STOP{}", "{}STOP", "ST{}OP"])
def test_an_item_with_a_character_that_xml_may_not_hold_is_read_without_it(illegal: str, text: str) -> None:
    """An inbound STOP with one control character was a reject, and the person got the next message."""
    bad = item("InboundSmsActivity", SmsAddress="+15550100000", InboundMessage=f"{text.format(illegal)} caf&#233; &amp;")
    flattened = flat(bundle(GOOD, bad, GOOD))
    assert flattened.tables["sms_inbounds"]["inbound_message"].to_list() == ["STOP caf\u00e9 &"]
    assert (flattened.tables["opens"].height, flattened.rejected.height, flattened.items, flattened.counted) == (2, 0, 3, 3)


@pytest.mark.parametrize("timestamp", ["<Timestamp/>", "<Timestamp> </Timestamp>", ""])
def test_an_item_without_a_timestamp_is_rejected(timestamp: str) -> None:
    bad = f"<NewActivity><ActivityId>a</ActivityId>{timestamp}</NewActivity>"
    (rejected,) = flat(bundle(bad)).rejected.to_dicts()
    assert (rejected["reason"], rejected["element"], rejected["fragment"]) == ("missing_timestamp", "NewActivity", bad)


@pytest.mark.parametrize(
    ("old", "new", "table"),
    [
        ("DeliveredSmsActivity", "SmsDeliveredActivity", "sms_deliveries"),
        ("BouncedSmsActivity", "SmsDeliveryFailureActivity", "sms_delivery_failures"),
        ("RenderErrorSmsActivity", "SmsRenderErrorActivity", "sms_render_errors"),
    ],
)
def test_both_sms_vocabularies_fill_the_same_table(old: str, new: str, table: str) -> None:
    rows = [only_row(flat(bundle(item(element, SmsAddress="+15550100"))), table) for element in (old, new)]
    assert rows[0] == rows[1]
    assert rows[0]["sms_address"] == "+15550100"


def test_inbound_sms_in_either_vocabulary() -> None:
    documented = item("InboundSmsActivity", SmsAddress="+15550100", To="12345", InboundMessageType="STOP", InboundMessage="stop it")
    other = item("SmsInboundActivity", SendingSmsNumber="+15550100", DestinationSmsNumber="12345", SmsBody="stop it", FromCity="Atlanta")
    for body, kind, city in ((documented, "STOP", None), (other, None, "Atlanta")):
        row = only_row(flat(bundle(body)), "sms_inbounds")
        assert (row["sms_address"], row["destination_sms_number"], row["inbound_message"]) == ("+15550100", "12345", "stop it")
        assert (row["inbound_message_type"], row["from_city"], row["_rescued_data"]) == (kind, city, None)


def test_text_beside_the_children_is_rescued() -> None:
    odd = (
        "<ClickActivity>one<ActivityId>a</ActivityId>two &lt;3<Timestamp>2026-03-01T10:00:00Z</Timestamp>\n<!-- no text --></ClickActivity>"
    )
    row = only_row(flat(bundle(odd)), "clicks")
    assert (row["activity_id"], json.loads(row["_rescued_data"])) == ("a", {"#text": "one two <3"})


def test_the_first_listed_element_wins_and_the_other_is_rescued() -> None:
    row = only_row(flat(bundle(item("SmsInboundActivity", SendingSmsNumber="+1", SmsAddress="+2"))), "sms_inbounds")
    assert (row["sms_address"], json.loads(row["_rescued_data"])) == ("+2", {"SendingSmsNumber": "+1"})


def test_a_context_hit_with_any_mark_of_a_record_is_a_hit() -> None:
    assert list(flat(bundle(item("ContextHitActivity", RecordSize="1"))).tables) == ["context_hits"]
    assert list(flat(bundle(item("ContextHitActivity", UpdateTimestamp=""))).tables) == ["context_hits"]


def test_a_context_miss_by_its_own_name_is_not_inferred() -> None:
    assert only_row(flat(bundle(item("ContextMissActivity", Prefix="P"))), "context_misses")["is_inferred"] is False


def test_error_lists() -> None:
    two = "<RenderErrors><RenderError><ErrorCode>A</ErrorCode></RenderError><RenderError><ErrorMessage>m</ErrorMessage></RenderError></RenderErrors>"
    row = only_row(flat(bundle(item("RenderErrorActivity").replace("</RenderErrorA", two + "</RenderErrorA"))), "render_errors")
    assert row["errors"] == [{"error_code": "A", "error_message": None}, {"error_code": None, "error_message": "m"}]
    assert row["_rescued_data"] is None


def test_an_empty_error_list_is_null() -> None:
    assert only_row(flat(bundle(item("RenderErrorActivity", RenderErrors=""))), "render_errors")["errors"] is None


def test_job_errors_repeat() -> None:
    errors = "".join(f"<JobError><ErrorCode>{code}</ErrorCode><ErrorMessage>m</ErrorMessage></JobError>" for code in "AB")
    row = only_row(flat(bundle(item("JobErrorActivity").replace("</JobErrorA", errors + "</JobErrorA"))), "job_errors")
    assert [error["error_code"] for error in row["errors"]] == ["A", "B"]
    assert row["_rescued_data"] is None


def test_what_an_error_holds_beyond_code_and_message_is_rescued() -> None:
    body = bundle(item("JobErrorActivity", JobError="<ErrorCode>A</ErrorCode><Line>7</Line>"))
    row = only_row(flat(body), "job_errors")
    assert row["errors"] == [{"error_code": "A", "error_message": None}]
    assert json.loads(row["_rescued_data"]) == {"JobError": "<ErrorCode>A</ErrorCode><Line>7</Line>"}


def test_an_unknown_activity_is_kept_as_received() -> None:
    text = item("MobileAppOpenActivity", RequestId="b1-x", Screen="Home &amp; Garden").replace("<Screen>", '<Screen kind="x">')
    row = only_row(flat(f'<ActivityItems xmlns="urn:x">\n  {text}\n</ActivityItems>'), "unrecognized_activities")
    assert (row["element"], row["request_id"], row["activity_id"]) == ("MobileAppOpenActivity", "b1-x", "a1")
    assert row["item_xml"] == text
    assert json.loads(row["_rescued_data"]) == {"Screen": "Home & Garden"}


def test_items_without_an_id_get_one_of_their_content() -> None:
    def open_of(address: str, *, namespace: str = "", order: int = 1) -> str:
        children = [
            f"<EmailAddress>{address}</EmailAddress>",
            "<Timestamp>2010-11-05T10:00:00.000-04:00</Timestamp>",
            "<RequestId>t1</RequestId>",
        ]
        return f"<ActivityItems{namespace}><OpenActivity>{''.join(children[::order])}<UserAgent/></OpenActivity></ActivityItems>"

    one = only_row(flat(open_of("a@x.example")), "opens")["activity_id"]
    again = only_row(flat(open_of("a@x.example", namespace=' xmlns="http://messagegears.com/3.0/webService"', order=-1)), "opens")[
        "activity_id"
    ]
    other = only_row(flat(open_of("b@x.example")), "opens")["activity_id"]
    assert one == again != other
    assert one.startswith("sha256:")
    assert len(one) == len("sha256:") + 64


def test_an_account_activity_response_is_read_like_a_bundle() -> None:
    wrapped = (
        '<AccountActivityResponse xmlns="http://messagegears.com/3.1/webService"><RequestId>a1</RequestId><Result>REQUEST_SUCCESSFUL</Result>'
        f"{bundle(item('OpenActivity'))}</AccountActivityResponse>"
    )
    assert only_row(flat(wrapped), "opens")["activity_id"] == "a1"


@pytest.mark.parametrize("body", ["<ActivityItems/>", "<ActivityItems></ActivityItems>", "<ActivityItems><!-- none --></ActivityItems>"])
def test_an_empty_bundle_gives_nothing(body: str) -> None:
    flattened = flat(body)
    assert (flattened.tables, flattened.items, flattened.rejected.height) == ({}, 0, 0)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("", "malformed_xml"),
        ("   ", "malformed_xml"),
        ("RequestId,CorrelationId\n1,2", "not_xml"),
        ('{"json": true}', "not_xml"),
        ("<ActivityItems>", "malformed_xml"),
        ("<Other><OpenItem/></Other>", "not_activity_items"),
        ("<ClickActivity><ActivityId>1</ActivityId></ClickActivity>", "not_activity_items"),
        ("<AccountActivityResponse><Result>REQUEST_FAILED</Result></AccountActivityResponse>", "not_activity_items"),
        (f"<!DOCTYPE ActivityItems>{bundle(item('OpenActivity'))}", "malformed_xml"),
        (
            f'<?xml version="1.0"?><!-- c -->\n<!DOCTYPE x [<!ENTITY e "v">]>{bundle(item("OpenActivity", UserAgent="&e;"))}',
            "malformed_xml",
        ),
        ("\x00" + "<ActivityItems/>", "malformed_xml"),
    ],
)
def test_a_message_without_a_readable_item_is_one_reject(body: str, reason: str) -> None:
    flattened = flat(body)
    assert flattened.tables == {}
    (rejected,) = flattened.rejected.to_dicts()
    assert (rejected["item_index"], rejected["reason"], rejected["fragment"]) == (None, reason, body)


GOOD = item("OpenActivity")


@pytest.mark.parametrize(
    ("bad", "element"),
    [
        ("<ClickActivity><Url>a&b</Url></ClickActivity>", "ClickActivity"),
        ("<ClickActivity><Url>&nbsp;</Url></ClickActivity>", "ClickActivity"),
        ("<ClickActivity><Url>x</Uri></ClickActivity>", "ClickActivity"),
        ("<ClickActivity><Url>x</Url></Clickactivity>", "ClickActivity"),
        ("<ClickActivity><Url a=1>x</Url></ClickActivity>", "ClickActivity"),
        ('<ClickActivity><Url a="x>y</Url></ClickActivity>', "ClickActivity"),
        ("<ClickActivity><p:Url>x</p:Url></ClickActivity>", "ClickActivity"),
        ("<ClickActivity><Url>x<</Url></ClickActivity>", "ClickActivity"),
        ("<ClickActivity><Url>", "ClickActivity"),
        ("<ClickActivity><Url>\x01</Uri></ClickActivity>", "ClickActivity"),
        ("<ClickActivity><!-- never closed <Url>x</Url></ClickActivity>", "ClickActivity"),
        ("<ClickActivity><![CDATA[ never closed <Url>x</Url></ClickActivity>", "ClickActivity"),
        ("stray < text", None),
        ("<Stray>a&b</Stray>", "Stray"),
    ],
)
def test_a_bad_item_never_costs_its_siblings(bad: str, element: str | None) -> None:
    flattened = flat(f'<?xml version="1.0" encoding="UTF-8"?>\n{bundle(GOOD, bad, GOOD)}')
    assert flattened.tables["opens"].height == 2
    (rejected,) = flattened.rejected.to_dicts()
    assert (rejected["reason"], rejected["element"]) == ("malformed_xml", element)
    assert rejected["fragment"] == bad
    assert flattened.items == 3


def test_a_truncated_body_keeps_its_whole_items() -> None:
    body = bundle(GOOD, item("ClickActivity"), item("BouncedMessageActivity"))
    flattened = flat(body[: body.index("</BouncedMessageActivity>") - 5])
    assert list(flattened.tables) == ["opens", "clicks"]
    assert flattened.rejected["element"].to_list() == ["BouncedMessageActivity"]


def test_an_item_inside_a_comment_or_cdata_of_a_malformed_body_is_no_event() -> None:
    """Cutting by text alone would invent an event that was only quoted."""
    hidden = f"<!-- {GOOD} --><RequestActivity><RecipientXml><![CDATA[{GOOD}]]></RecipientXml><Bad></RequestActivity>"
    flattened = flat(bundle(hidden, item("ClickActivity")))
    assert list(flattened.tables) == ["clicks"]
    assert flattened.rejected["element"].to_list() == ["RequestActivity"]


def test_an_item_with_a_bad_time_in_a_malformed_body_is_rejected_with_its_own_text() -> None:
    """Found by fuzzing: where a body does not parse, its items have other positions, and one such message stopped silver for good."""
    late = item("ClickActivity", Timestamp="x")
    flattened = flat(f"<ActivityItems stray < text {GOOD}{late}</ActivityItems>")
    assert flattened.tables["opens"].height == 1
    rejected = {row["reason"]: row["fragment"] for row in flattened.rejected.to_dicts()}
    assert rejected["invalid_timestamp"] == late
    assert flattened.items == 3


def test_the_prefix_of_a_malformed_bundle_still_binds() -> None:
    good = GOOD.replace("</", "</m:").replace("<", "<m:").replace("<m:/m:", "</m:")
    body = f'<m:ActivityItems xmlns:m="urn:x">{good}<m:ClickActivity><m:Url>a&b</m:Url></m:ClickActivity></m:ActivityItems>'
    flattened = flat(body)
    assert flattened.tables["opens"].height == 1
    assert flattened.rejected["element"].to_list() == ["ClickActivity"]


def test_every_item_is_counted_where_it_went() -> None:
    flattened = flat(bundle(GOOD, "<X/>", item("ClickActivity", Timestamp="x"), item("NewActivity")), "nonsense", "<ActivityItems/>")
    assert flattened.messages == 3
    assert flattened.items == 5 == sum(rows.height for rows in flattened.tables.values()) + flattened.rejected.height


def test_rows_carry_where_they_came_from() -> None:
    flattened = flat(bundle(item("ClickActivity")), bundle(GOOD, GOOD))
    assert flattened.tables["opens"].select("source", "message_id", "item_index", "received_date").rows() == [
        ("event_feed", "m1", 0, date(2026, 3, 1)),
        ("event_feed", "m1", 1, date(2026, 3, 1)),
    ]


@pytest.mark.parametrize(
    "hostile",
    [
        "<ActivityItems>" + "<AActivity>" * 60_000,
        "<ActivityItems>" + "<AActivity><Url>" * 30_000 + "</AActivity>" * 10,
        "<!--" * 200_000,
        "<ActivityItems><AActivity>" + "<!--" * 100_000,
        "<ActivityItems><AActivity " + 'a="' * 200_000,
        "<ActivityItems>" + "<![CDATA[" * 80_000,
        "<ActivityItems>" + "<a>" * 250_000,
        "<" * 800_000,
        "<?" * 400_000,
    ],
    ids=range(9),
)
@pytest.mark.timeout(60)
def test_hostile_bodies_are_read_in_bounded_time(hostile: str) -> None:
    """A megabyte that is cut in quadratic time holds a worker for hours; in linear time it takes a second or two."""
    assert flat(hostile).rejected.height >= 1
