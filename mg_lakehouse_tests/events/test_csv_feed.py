"""The feed's CSV: a row gives the row that the same event gives as XML, whatever the header's order, case and spelling, and whatever delimits it."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Sequence

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from mg_lakehouse.events.flatten import Flattened
from mg_lakehouse.events.formats.csv import CsvRefusedError, bundle_of_csv, csv_items, dialect_of, is_csv, known_type, read_header
from mg_lakehouse.events.formats.envelopes import envelope_of
from mg_lakehouse_tests.events.frames import bundle, flat, item, only_row
from mg_lakehouse_tests.events.property_examples import examples
from mg_lakehouse_tests.security.laws import check

COLUMNS = ["ActivityId", "Timestamp", "RequestId", "EmailAddress", "CampaignId", "Url", "UrlId", "Microsite", "JobCategory"]
TEXTS = st.sampled_from(["", "7", "true", 'a "quoted" word', "a,b", "line\nbreak", "<b> & c", "é🌞", " x "])


def of_csv(header: Sequence[str], rows: Sequence[Sequence[str]], *, activity: str | None = None) -> Flattened:
    text = io.StringIO()
    csv.writer(text).writerows([header, *rows])
    lines = csv.reader(io.StringIO(text.getvalue(), newline=""))
    known = read_header(next(lines))
    assert known is not None
    return flat(f"<ActivityItems>{''.join(csv_items(known, lines, activity=activity))}</ActivityItems>")


def escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


@examples(100)
@given(
    st.lists(st.lists(TEXTS, min_size=len(COLUMNS) - 2, max_size=len(COLUMNS) - 2), min_size=1, max_size=5),
    st.permutations(COLUMNS),
    st.booleans(),
)
def test_an_event_is_the_same_row_as_csv_and_as_xml(drawn: list[list[str]], order: list[str], camel: bool) -> None:
    events = [dict(zip(COLUMNS, [f"a{number}", "2026-02-28T10:00:00.5-05:00", *texts], strict=True)) for number, texts in enumerate(drawn)]
    header = [name[0].lower() + name[1:] if camel else name for name in order]
    found = of_csv([*header, "activityType"], [[*(event[name] for name in order), "Click"] for event in events])
    as_xml = flat(
        bundle(*(item("ClickActivity", **{name: escaped(text) for name, text in event.items() if text.strip()}) for event in events))
    )
    assert_frame_equal(found.tables["clicks"], as_xml.tables["clicks"])
    assert found.rejected.is_empty()
    assert as_xml.rejected.is_empty()


def words_of(name: str) -> list[str]:
    return re.findall("[A-Z][a-z]*", name)


SPELLINGS: dict[str, Callable[[str], str]] = {
    "camel": lambda name: name[0].lower() + name[1:],
    "pascal": lambda name: name,
    "snake": lambda name: "_".join(words_of(name)).lower(),
    "capitals": lambda name: "_".join(words_of(name)).upper(),
    "kebab": lambda name: "-".join(words_of(name)).lower(),
    "blanks": lambda name: " ".join(words_of(name)),
    "dots": lambda name: ".".join(words_of(name)),
    "quoted blanks": lambda name: f" {' '.join(words_of(name)).lower()}\u00a0",
}


@examples(100)
@given(
    st.lists(st.lists(TEXTS, min_size=len(COLUMNS) - 2, max_size=len(COLUMNS) - 2), min_size=1, max_size=4),
    st.permutations([*COLUMNS, "ActivityType"]),
    st.sampled_from(list(SPELLINGS)),
    st.sampled_from(",;\t|"),
    st.tuples(
        st.sampled_from(["", "\ufeff", "\r\n", "sep={}\r\n", "\ufeffsep={}\n"]),
        st.sampled_from(["\n", "\r\n"]),
        st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    ),
)
def test_a_body_of_csv_is_read_as_the_same_events_in_xml(
    drawn: list[list[str]], order: list[str], spelling: str, delimiter: str, frame: tuple[str, str, int]
) -> None:
    events = [
        dict(zip(COLUMNS, [f"a{number}", "2026-02-28T10:00:00.5-05:00", *texts], strict=True)) | {"ActivityType": "Click"}
        for number, texts in enumerate(drawn)
    ]
    begin, end, quoting = frame
    text = io.StringIO()
    rows = [[SPELLINGS[spelling](name) for name in order], *([event[name] for name in order] for event in events)]
    csv.writer(text, delimiter=delimiter, lineterminator=end, quoting=quoting).writerows(rows)  # type: ignore[arg-type]
    body = begin.format(delimiter) + text.getvalue()
    assert envelope_of(body) == "csv"
    found = flat(body)
    children = [{name: escaped(text) for name, text in event.items() if text.strip() and name != "ActivityType"} for event in events]
    as_xml = flat(bundle(*(item("ClickActivity", **each) for each in children)))
    assert_frame_equal(found.tables["clicks"], as_xml.tables["clicks"])
    assert (found.rejected.height, found.items, found.counted) == (0, len(drawn), len(drawn))


@examples(200)
@given(st.text(st.sampled_from('activityIdTmesp,;\t|"\n\r_- 0<&x\u2028'), max_size=120), st.booleans())
def test_any_text_is_csv_or_is_not_and_never_fails(text: str, headed: bool) -> None:
    body = f"activityType,activityId,timestamp\n{text}" if headed else text
    assert isinstance(is_csv(body), bool)
    check(body)


@pytest.mark.parametrize(
    ("header", "why"),
    [
        ("activityType,activityId,time", "names no Timestamp"),
        ("activityType,id,timestamp,requestId", "names no ActivityId"),
        ("activityType,activityId,activity_id,timestamp", "names ActivityId in two columns"),
        ("activityType,activityId,timestamp,Request Id,requestId", "names RequestId in two columns"),
        ("activityId,timestamp,requestId", "names the activity in no column"),
        (f"activityType,activityId,timestamp,{'x' * 101}", "names a column of more than 100 characters"),
    ],
)
def test_a_header_that_leaves_open_what_is_meant_is_refused(header: str, why: str) -> None:
    """An id under another name was rescued without a word, and its rows had one made of their content."""
    with pytest.raises(CsvRefusedError, match=why):
        bundle_of_csv(f"{header}\n1,2,3,4,5\n")


def test_a_header_in_the_middle_holds_for_the_rows_behind_it() -> None:
    first = "activityType,activityId,emailAddress,timestamp\nOpen,o1,pat@example.com,2026-03-02T10:00:00Z\n"
    second = "timestamp,activity_id,activity_type,url\n2026-03-02T10:00:00Z,c1,Click,http://x.example/\n"
    found = flat(first + second + first.replace("o1", "o2"))
    assert found.tables["opens"].select("activity_id", "email_address").rows() == [("o1", "pat@example.com"), ("o2", "pat@example.com")]
    assert found.tables["clicks"].select("activity_id", "url").rows() == [("c1", "http://x.example/")]
    assert found.rejected.is_empty()


@pytest.mark.parametrize(
    ("row", "detail"),
    [
        ("Open,c13,2026-03-02T10:00:00Z,", "The row has 4 cells, and its header 3 columns."),
        ("Open,c13", "The row has 2 cells, and its header 3 columns."),
        (",c13,2026-03-02T10:00:00Z", "The row names no activity."),
    ],
)
def test_a_row_that_does_not_fit_its_header_is_a_reject_that_says_so(row: str, detail: str) -> None:
    """Such a row was rejected as one without a Timestamp, which it had."""
    found = flat(f"activityType,activityId,timestamp\n{row}\nOpen,o1,2026-03-02T10:00:00Z\n")
    assert found.rejected.select("reason", "detail", "item_index").rows() == [("torn_row", detail, 0)]
    assert found.tables["opens"]["activity_id"].to_list() == ["o1"]


def test_a_body_that_becomes_gigabytes_of_xml_is_refused() -> None:
    names = ",".join(f"{'x' * 95}{number:03d}" for number in range(200))
    with pytest.raises(CsvRefusedError, match="64 MiB"):
        bundle_of_csv(f"activityType,activityId,timestamp,{names}\n" + f"Open,a,b,{','.join('1' * 200)}\n" * 2_400)


@pytest.mark.parametrize(("line", "delimiter"), [("activityId;timestamp;a,b", ";"), ("activityId\ttimestamp", "\t"), ("a,b", None)])
def test_the_header_shows_what_delimits(line: str, delimiter: str | None) -> None:
    assert dialect_of(line) == delimiter


@pytest.mark.parametrize("null", ["null", "NULL", r"\N", " null "])
def test_an_id_or_an_address_that_is_a_databases_null_is_none(null: str) -> None:
    header = ["activityType", "requestId", "activityId", "timestamp", "recipientId", "correlationId", "emailAddress", "inboundMessage"]
    row = only_row(of_csv(header, [["Open", null, null, "2026-02-28T10:00:00Z", null, null, null, null]]), "opens")
    assert {name: row[name] for name in ("request_id", "recipient_id", "correlation_id", "email_address")} == {
        "request_id": None,
        "recipient_id": None,
        "correlation_id": None,
        "email_address": None,
    }
    assert row["activity_id"].startswith("sha256:")


def test_what_a_person_wrote_is_kept_though_it_reads_null() -> None:
    found = of_csv(["type", "activityId", "timestamp", "inboundMessage"], [["InboundSms", "a", "2026-02-28T10:00:00Z", "null"]])
    assert only_row(found, "sms_inbounds")["inbound_message"] == "null"


@pytest.mark.parametrize("name", ["Open", "OPENS", "opens", "OpenActivity", "open activity"])
def test_an_activity_goes_by_any_of_its_names(name: str) -> None:
    found = of_csv(["Type", "ACTIVITYID", "timestamp"], [[name, "a", "2026-02-28T10:00:00Z"]])
    assert only_row(found, "opens")["activity_id"] == "a"


@pytest.mark.parametrize(
    ("name", "element"), [("BOUNCED_MESSAGES", "BouncedMessageActivity"), ("delivery", "DeliveredMessageActivity"), ("nothing", None)]
)
def test_types_are_known_by_the_names_of_the_api_and_of_the_tables(name: str, element: str | None) -> None:
    assert known_type(name) == element


def test_what_a_file_does_not_say_of_its_rows_can_be_said() -> None:
    found = of_csv(["activityId", "timestamp"], [["a", "2026-02-28T10:00:00Z"]], activity="OpenActivity")
    assert list(found.tables) == ["opens"]


def test_nothing_of_a_row_is_lost() -> None:
    found = of_csv(
        ["activityType", "activityId", "timestamp", "brand new", "2nd"],
        [
            ["Open", "a", "2026-02-28T10:00:00Z", "kept", "too"],
            ["Teleport", "b", "2026-02-28T10:00:00Z", "", ""],
            ["Open", "c", "2026-02-28T10:00:00Z"],
            ["", "d", "2026-02-28T10:00:00Z", "", ""],
            ["Open", "e", "28.02.2026", "", ""],
            ["", "", "", "", ""],
        ],
    )
    assert found.items == 5
    assert found.tables["opens"]["_rescued_data"].to_list() == ['{"Brand_new": "kept", "_2nd": "too"}']
    assert found.tables["unrecognized_activities"].select("element", "activity_id").rows() == [("TeleportActivity", "b")]
    rejected = found.rejected.select("element", "reason", pl.col("fragment").str.contains(">[cde]<")).rows()
    assert rejected == [
        ("CsvRowActivity", "torn_row", True),
        ("CsvRowActivity", "torn_row", True),
        ("OpenActivity", "invalid_timestamp", True),
    ]


def test_an_error_of_a_row_stands_where_the_event_has_its_errors() -> None:
    header = ["activityType", "activityId", "timestamp", "errorCode", "errorMessage"]
    found = of_csv(header, [[kind, kind, "2026-02-28T10:00:00Z", "7", "no such field"] for kind in ("RenderError", "JobError")])
    for table in ("render_errors", "job_errors"):
        assert found.tables[table]["errors"].to_list() == [[{"error_code": "7", "error_message": "no such field"}]]


@pytest.mark.parametrize("line", [[], ["hello"], ["a", "b"], ["<xml>"]])
def test_a_line_that_names_no_column_of_an_activity_is_no_header(line: list[str]) -> None:
    assert read_header(line) is None


@pytest.mark.parametrize(
    "body",
    [
        "activityType,activityId,timestamp,emailAd</BouncedMobilePushActivity>ctivity>7MSJRhZVxSJIbKAXcGAddress>joe@gDb7w/O03rItems>\n",
        "activityType|activityId|timestamp|<OpenActivity><ActivityId>a</ActivityId></OpenActivity>",
        "||act||ivityType,activityId,timestamp,emailAgx+CTZMH5TmqnN</SpamComplaintActivity>\\n|||<|<",
        "\ufeffactivityType,activityId,timestamp,<-Activity>\n",
    ],
)
def test_a_first_line_with_markup_is_no_header_for_nothing_would_come_of_it(body: str) -> None:
    """What the fuzzer found: a header without rows gives nothing, and an activity in it would be in no row and no reject."""
    assert not is_csv(body)
    assert check(body).rejected.height
