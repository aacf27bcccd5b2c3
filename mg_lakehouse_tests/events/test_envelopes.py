"""What carried a bundle leaves no trace in its rows, and a body without XML is one reject that says what it is."""

from __future__ import annotations

import base64
import gzip
import json
from pathlib import Path

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from mg_lakehouse.events.flatten import Flattened, fragments
from mg_lakehouse.events.formats.envelopes import envelope_of, unwrap
from mg_lakehouse.testing.samples import samples
from mg_lakehouse_tests.events.envelopes_grammar import wrapped
from mg_lakehouse_tests.events.frames import bundle, flat, item
from mg_lakehouse_tests.events.property_examples import examples
from mg_lakehouse_tests.events.test_plain import bodies
from mg_lakehouse_tests.security.laws import check

BODIES = Path(__file__).parents[1] / "fixtures" / "bodies"
OPEN = bundle(item("OpenActivity", UserAgent='Caf\u00e9 "Browser"/1.0 \\ &lt;\u2028\U0001f600'))


def assert_same(found: Flattened, expected: Flattened) -> None:
    """The same rows and rejects."""
    assert list(found.tables) == list(expected.tables)
    for table, rows in expected.tables.items():
        assert_frame_equal(found.tables[table], rows)
    assert_frame_equal(found.rejected, expected.rejected)
    assert (found.items, found.counted) == (expected.items, expected.counted)


def test_the_rows_of_a_notification_of_sns_are_those_of_its_message() -> None:
    """An opt-out of ``jos\\u00e9@``, as JSON escapes it, was an opt-out of nobody."""
    row = flat((BODIES / "sns-no-namespace.json").read_text()).tables["unsubscribes"].row(0, named=True)
    assert (row["activity_id"], row["email_address"]) == ("u1", "jos\u00e9@example.com")
    click = flat((BODIES / "sns-no-namespace.json").read_text()).tables["clicks"].row(0, named=True)
    assert (click["url"], click["user_agent"]) == ("https://x.example/a?b=1&c=2", 'Caf\u00e9 "Browser"/1.0')
    found = flat((BODIES / "sns-namespace.json").read_text())
    assert (found.tables["opens"]["activity_id"].to_list(), found.rejected.height) == (["n1", "n2"], 0)


@pytest.mark.parametrize(("name", "ids"), [("two-activityitems.xml", ["t1", "t2", "t3"]), ("empty-then-full-activityitems.xml", ["t2"])])
def test_every_bundle_of_a_response_is_read(name: str, ids: list[str]) -> None:
    found = flat((BODIES / name).read_text())
    assert (found.tables["opens"]["activity_id"].to_list(), found.rejected.height) == (ids, 0)


@examples(300)
@given(st.data())
def test_no_nesting_of_envelopes_changes_a_row(data: st.DataObject) -> None:
    """Whatever the bundle is, well-formed or not."""
    body = data.draw(bodies() | st.sampled_from(list(samples().values())))
    body = body.encode("utf-8", "replace").decode()
    if unwrap(body).refusal is not None or not body.lstrip("\ufeff \t\r\n").startswith("<"):
        return
    text, envelope = data.draw(wrapped(body))
    assert envelope_of(text) == envelope
    assert_same(flat(text, body), flat(body, body))


def test_a_byte_order_mark_before_text_that_belongs_to_no_item_is_no_part_of_it() -> None:
    """Found by the long search for bodies: an envelope comes without the mark, and the rejects of the two differed by it."""
    body = "\ufeff <ActivityItems>\xa0" + item("OpenActivity", UserAgent="\x01") + "</ActivityItems>"
    found = flat(body)
    assert found.rejected["fragment"][0] == " <ActivityItems>\xa0"
    assert_same(flat(base64.b64encode(body.encode()).decode()), found)


@examples(500)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(["Notification", "aws:s3", OPEN, f"[{OPEN}]"]),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "Type",
                        "Message",
                        "TopicArn",
                        "detail",
                        "detail-type",
                        "source",
                        "Records",
                        "Sns",
                        "body",
                        "messageId",
                        "eventSource",
                        "s3",
                        "x",
                    ]
                ),
                inner,
                max_size=5,
            )
        ),
        max_leaves=8,
    ),
    st.integers(0, 400),
    st.booleans(),
)
@example({"Message": OPEN, "TopicArn": None}, 400, False)
def test_any_json_whole_or_torn_is_read_or_refused(value: object, length: int, in_base64: bool) -> None:
    text = json.dumps(value)[:length]
    check(base64.b64encode(text.encode()).decode() if in_base64 else text)


def test_base64_of_base64_in_lines_is_opened() -> None:
    """The lines of the inner one end with a line break behind its padding."""
    text = base64.encodebytes(base64.encodebytes((OPEN + " " * (-len(OPEN.encode()) % 3 + 1)).encode())).decode()
    assert envelope_of(text) == "base64+base64"
    assert_same(flat(text), flat(OPEN))


@given(
    st.binary(max_size=200) | st.binary(max_size=60).map(gzip.compress) | st.just(b"\x1f\x8b\x08"), st.sampled_from(["base64", "latin-1"])
)
def test_any_bytes_are_read_or_refused(data: bytes, form: str) -> None:
    found = check(base64.b64encode(data).decode() if form == "base64" else data.decode("latin-1"))
    assert found.items >= 0


def in_base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


POINTER = json.dumps(["software.amazon.payloadoffloading.PayloadS3Pointer", {"s3BucketName": "b", "s3Key": "k"}])
NO_XML = {
    "a pointer of the extended client": (POINTER, "A pointer of the SQS extended client"),
    "an older pointer": (POINTER.replace("software.amazon.payloadoffloading.Payload", "com.amazon.sqs.javamessaging.Message"), "A pointer of"),
    "a pointer in a notification": (json.dumps({"Type": "Notification", "Message": POINTER}), "A pointer of"),
    "a notification of s3": (json.dumps({"Records": [{"eventSource": "aws:s3", "s3": {"object": {"key": "pat@example.com"}}}]}), "A notification of an object of S3"),
    "a notification of s3 through sns": (json.dumps({"Type": "Notification", "Message": json.dumps({"Records": [{"eventSource": "aws:s3"}]})}), "A notification of an object"),
    "an event of s3": (json.dumps({"detail-type": "Object Created", "source": "aws.s3", "detail": {"object": {"key": "k"}}}), "A notification of an object of S3"),
    "a test event": (json.dumps({"Service": "Amazon S3", "Event": "s3:TestEvent"}), "A test event of S3"),
    "a confirmation": (json.dumps({"Type": "SubscriptionConfirmation", "Message": "You have chosen", "TopicArn": "a", "Token": "t"}), "A SubscriptionConfirmation of SNS"),
    "many records": (json.dumps({"Records": [{"messageId": "1", "body": OPEN}] * 2}), "A list of several records"),
    "an event of two texts": (json.dumps({"detail-type": "x", "detail": {"a": OPEN, "b": OPEN}}), "An event whose detail holds 2 texts"),
    "lines of json": ('{"OpenActivity": 1}\n{"OpenActivity": 2}\n', "Several values of JSON"),
    "an event as json": ('{"ActivityItems": {"OpenActivity": {"ActivityId": "<ActivityId>"}}}', "JSON that is no envelope"),
    "items within json": (json.dumps({"payload": OPEN}), "JSON that is no envelope"),
    "a name twice": (f'{{"TopicArn": "a", "Message": "x", "Message": {json.dumps(OPEN)}}}', "JSON in which a name stands twice"),
    "json that broke off": (json.dumps({"Type": "Notification", "Message": OPEN})[:-9], "JSON that is damaged"),
    "json nested too deep": ("[" * 100_000, "JSON that is damaged"),
    "more envelopes than anybody has": ("", "More than 16 envelopes"),
    "csv without a time": ("activityType,activityId,when\nOpen,o1,2026-02-28T10:00:00Z\n", "CSV that names no Timestamp"),
    "csv without a header": ("Open,o1,pat@example.com,2026-02-28T10:00:00Z\n", "CSV without a header line"),
    "csv without a type": ("activityId,timestamp\no1,2026-02-28T10:00:00Z\n", "CSV that names the activity in no column"),
    "csv that broke off": ('activityType,activityId,timestamp\nOpen,o1,"2026', "CSV that ends within quotes"),
    "csv of two ids": ('"activityType","activityId","activity_id","timestamp"\n"Open","a","b","2026"\n', "CSV that names ActivityId in two columns"),
    "a line of a log": (f"2026-03-01 INFO took {OPEN}", "Text that is no XML"),
    "bytes as python writes them": (f"b'{OPEN}'", "Text that is no XML"),
    "prose": ("The feed is down for maintenance.", "Text that is no XML"),
    "a word": ("maintenance", "Text that is no XML"),
    "bytes": ("a\x01b\ufffd", "Bytes that are no text"),
    "a bomb": (in_base64(gzip.compress(b" " * 70_000_000)), "A gzip that unpacks to far more"),
    "a small bomb": (in_base64(gzip.compress(b" " * 3_000_000)), "A gzip that unpacks to far more"),
    "a bomb in a notification": (json.dumps({"Type": "Notification", "Message": in_base64(gzip.compress(b" " * 3_000_000))}), "A gzip that unpacks"),
    "a torn gzip": (in_base64(gzip.compress(OPEN.encode())[:-9]), "A gzip that is damaged"),
    "a gzip taken for text": (gzip.compress(OPEN.encode())[:2].decode("latin-1") + "\ufffd", "A gzip whose bytes were taken for text"),
    "another encoding": (in_base64("<ActivityItems>\u00e9</ActivityItems>".encode("latin-1")), "Bytes that are no text in the encoding"),
}  # fmt: skip
NESTED = OPEN
for _ in range(17):
    NESTED = (
        json.dumps({"T": 1, "TopicArn": "a", "Message": NESTED}) if len(NESTED) < 100_000 else f'{{"detail-type": 1, "detail": {NESTED}}}'
    )
NO_XML["more envelopes than anybody has"] = (NESTED, "More than 16 envelopes")


@pytest.mark.parametrize("kind", NO_XML)
def test_a_body_without_xml_is_one_reject_that_says_what_it_is(kind: str) -> None:
    body, begin = NO_XML[kind]
    found = flat(bundle(item("ClickActivity")), body, bundle(item("OpenActivity")))
    assert {table: rows["message_id"].to_list() for table, rows in found.tables.items()} == {"opens": ["m2"], "clicks": ["m0"]}
    (rejected,) = found.rejected.to_dicts()
    assert (rejected["message_id"], rejected["item_index"], rejected["element"], rejected["reason"]) == ("m1", None, None, "not_xml")
    assert rejected["detail"].startswith(begin)
    assert rejected["fragment"] == body
    assert "example.com" not in rejected["detail"]
    assert (found.items, found.counted) == (3, 3)


@pytest.mark.parametrize("before", ["\ufeff", "\u00ef\u00bb\u00bf", "\u200b", "\u00a0\n", "\x00"])
def test_what_a_wrong_encoding_leaves_in_front_of_a_bundle_costs_no_item(before: str) -> None:
    assert flat(before + OPEN).tables["opens"].height == 1


def test_a_reject_within_an_envelope_has_the_items_own_text() -> None:
    late = item("OpenActivity", Timestamp="x", UserAgent="\u00e9")
    body = json.dumps({"Type": "Notification", "Message": bundle(item("ClickActivity"), late)})
    assert flat(body).rejected["fragment"].to_list() == [late]
    assert fragments([body], [0]) == [item("ClickActivity")]


def test_the_bodies_of_a_batch_are_left_as_they_were() -> None:
    """Bronze's frame is used again, for the text of conflicts."""
    text = json.dumps(OPEN)
    frame = pl.DataFrame({"message_id": ["a", "b"], "body": [OPEN, text]})
    column = frame["body"]
    flat(*column)
    assert column.to_list() == [OPEN, text]
