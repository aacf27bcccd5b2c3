"""Files that somebody loads: in whatever form, each bundle once, beside what the queue and the daily files brought."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from collections.abc import Callable, Iterable
from itertools import permutations
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from mg_lakehouse.audit.conservation import conservation
from mg_lakehouse.audit.hourly_balance import balance_hours_of_sources
from mg_lakehouse.bronze.loaded_files import Loaded, load_files
from mg_lakehouse.events.formats.encodings import known_encoding
from mg_lakehouse.events.formats.json_file import bodies_of_json
from mg_lakehouse.events.formats.unpacking import Gunzipping
from mg_lakehouse.lake.failpoints import Failpoint, on_reached
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.settings import Settings
from mg_lakehouse.silver.progress import unflattened
from mg_lakehouse.silver.update import flatten_sources
from mg_lakehouse.testing.samples import samples
from mg_lakehouse_tests.events.frames import bundle, item
from mg_lakehouse_tests.lake.feeds import receive, rows_of

SETTINGS = Settings()
NO_ENVELOPE = (
    "JSON that is no envelope and holds no XML: the feed has to be set to XML. Have the bundles sent as they are, or in an envelope of SNS, SQS or "
    "EventBridge."
)
OPEN, CLICK = item("OpenActivity", ActivityId="o1"), item("ClickActivity", ActivityId="c1")
RESPONSE = (
    '<?xml version="1.0"?><AccountActivityResponse xmlns="http://messagegears.com/3.1/webService"><RequestId>a1</RequestId>'
    "<Result>REQUEST_SUCCESSFUL</Result><ActivityDate>2026-02-28</ActivityDate>{}</AccountActivityResponse>"
)
CSV = "activityType,activityId,timestamp\nOpen,o1,2026-02-28T10:00:00Z\nClick,c1,2026-02-28T10:00:00Z\n"


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path / "lake"))


def load(lake: Lake, path: Path, content: str | bytes, **options: str) -> list[Loaded]:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return list(load_files(lake, SETTINGS, [path], activity=options.get("activity")))


def zipped(**members: str | bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return file.getvalue()


def events(lake: Lake) -> dict[str, list[str]]:
    flatten_sources(lake)
    tables = ("opens", "clicks")
    return {table: sorted(rows_of(lake, "silver", table)["activity_id"]) for table in tables if lake.open("silver", table) is not None}


FORMS: dict[str, str | bytes] = {
    "a bundle": bundle(OPEN, CLICK),
    "a bundle a line": f"{bundle(OPEN)}\n{bundle(CLICK)}\n",
    "bundles one behind the other": bundle(OPEN) + bundle(CLICK),
    "a response": RESPONSE.format(bundle(OPEN, CLICK)),
    "csv": CSV,
    "csv with a mark and other ends of lines": "\ufeff" + CSV.replace("\n", "\r\n"),
    "utf-16": ("\ufeff" + bundle(OPEN, CLICK)).encode("utf-16-le"),
    "gzip": gzip.compress(bundle(OPEN, CLICK).encode()),
    "gzip of csv": gzip.compress(CSV.encode()),
    "csv with semicolons": CSV.replace(",", ";"),
    "csv with tabs in utf-16, as a spreadsheet saves text": CSV.replace(",", "\t").encode("utf-16"),
    "csv in snake case": CSV.replace("activityType,activityId", "activity_type,activity_id"),
    "csv with blanks in its header": CSV.replace("activityType,activityId", "Activity Type,Activity Id"),
    "csv with times of a database": CSV.replace("2026-02-28T10:00:00Z", "2026-02-28 10:00:00.000 +0000"),
    "csv joined of two": CSV.rpartition("Click")[0] + "timestamp,activity type,activity id\n2026-02-28T10:00:00Z,Click,c1\n",
    "utf-16 without a mark": bundle(OPEN, CLICK).encode("utf-16-be"),
    "utf-32": bundle(OPEN, CLICK).encode("utf-32"),
    "what aws sqs receive-message prints": json.dumps(
        {
            "Messages": [
                {"MessageId": "1", "ReceiptHandle": "h", "Body": bundle(OPEN)},
                {"MessageId": "2", "ReceiptHandle": "h", "Body": bundle(CLICK)},
            ]
        },
        indent=4,
    ),
    "the same, call by call": "".join(
        json.dumps({"Messages": [{"MessageId": "1", "Body": bundle(each)}]}, indent=4) for each in (OPEN, CLICK)
    ),
    "json lines": "\n".join(json.dumps({"Type": "Notification", "TopicArn": "a", "Message": bundle(each)}) for each in (OPEN, CLICK)),
    "a list of bodies": json.dumps([bundle(OPEN), CSV]),
    "records of lambda": json.dumps(
        {"Records": [{"messageId": "1", "body": bundle(each), "eventSource": "aws:sqs"} for each in (OPEN, CLICK)]}
    ),
    "a gzip in a zip": zipped(a=gzip.compress(bundle(OPEN, CLICK).encode())),
    "a zip in a gzip": gzip.compress(zipped(a=bundle(OPEN), b=CSV)),
    "a zip in a zip": zipped(a=zipped(a=bundle(OPEN)), b=CSV),
    "a gzip in a gzip": gzip.compress(gzip.compress(CSV.encode())),
    "zip": zipped(**{"a.xml": bundle(OPEN), "deep/er/b.csv": CSV, "__MACOSX/._a.xml": "x"}),
}


@pytest.mark.parametrize("form", FORMS)
def test_each_form_of_file_gives_the_events_that_are_in_it(lake: Lake, tmp_path: Path, form: str) -> None:
    loaded = load(lake, tmp_path / "file", FORMS[form])
    assert [each.failure for each in loaded] == [None] * len(loaded)
    assert events(lake) == {"opens": ["o1"], "clicks": ["c1"]}
    assert set(rows_of(lake, "silver", "opens")["source"]) == {"loaded_files"}
    assert conservation(lake, source="loaded_files", above=0).holds


def test_what_was_loaded_is_not_loaded_again_whatever_its_name(lake: Lake, tmp_path: Path) -> None:
    (first,) = load(lake, tmp_path / "a.xml", bundle(OPEN, CLICK))
    (again,) = load(lake, tmp_path / "b.xml.gz", gzip.compress(bundle(OPEN, CLICK).encode()))
    assert (first.items, first.new, first.already) == (2, 1, 0)
    assert (again.items, again.new, again.already) == (2, 0, 1)
    assert rows_of(lake, "bronze", "loaded_files").height == 1


def test_the_same_bundle_twice_in_a_file_is_one(lake: Lake, tmp_path: Path) -> None:
    items = "".join(item("OpenActivity", ActivityId=f"o{number}") for number in range(500))
    (loaded,) = load(lake, tmp_path / "a.xml", bundle(items) * 3)
    assert (loaded.items, loaded.new, loaded.already) == (1_500, 1, 2)


def test_an_event_that_the_queue_brought_too_is_one_row(lake: Lake, tmp_path: Path) -> None:
    receive(lake, [bundle(OPEN)])
    flatten_sources(lake)
    load(lake, tmp_path / "a.xml", bundle(OPEN, CLICK))
    receive(lake, [bundle(CLICK)], first=7)
    assert events(lake) == {"opens": ["o1"], "clicks": ["c1"]}
    assert unflattened(lake, "loaded_files") == 0
    times = rows_of(lake, "bronze", "loaded_files")["received_at"]
    assert balance_hours_of_sources(lake, times[0], times[0]).balances


def test_all_samples_of_the_document_in_one_zip(lake: Lake, tmp_path: Path) -> None:
    loaded = load(lake, tmp_path / "samples.zip", zipped(**samples()))
    assert [each.items for each in loaded] == [1] * 17
    reports = flatten_sources(lake)
    # Two of the samples are not well-formed.
    assert (reports["loaded_files"].rows, reports["loaded_files"].rejected) == (15, {"malformed_xml": 2})


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("hello", "file is not a file of the feed: it is not XML, and its first line names no column of an activity."),
        ("", "file is not a file of the feed: it is not XML, and its first line names no column of an activity."),
        ("<html><body>404</body></html>", "file is not a file of the feed: it has no ActivityItems."),
        (RESPONSE.replace("REQUEST_SUCCESSFUL", "REQUEST_FAILED").format("<RequestErrors/>"), "file holds an error of MessageGears instead of activities: fetch it again."),
        (CSV.replace("activityType", "kindOf"), "No column of file names the activity: give the activity of its rows with --type."),
        (zipped(a=bundle(OPEN))[:-30], "file is a damaged zip, or cut off: load it again when it is whole."),
        (gzip.compress(b" " * 20_000_000), "file unpacks to far more than a file of events does, which is refused."),
        (gzip.compress(gzip.compress(b" " * 20_000_000)), "file unpacks to far more than a file of events does, which is refused."),
        (CSV.partition("\n")[2], "file is CSV without a header line: write one in front of it, such as activityType,activityId,timestamp,emailAddress."),
        (CSV.replace("timestamp", "when"), "file names no Timestamp: rename the column of the activities' times."),
        (CSV.replace("activityId", "uuid"), "file names no ActivityId: rename the column of the activities' ids, or add an empty one where there are none."),
        (CSV.replace("o1", "\u00e9").encode("cp1252"), "file has bytes in line 2 that are not UTF-8: give its encoding with --encoding, such as windows-1252 for a file that a spreadsheet saved in Western Europe or America."),
        (bundle(OPEN, "\n", CLICK.replace("c1", "\u044f")).encode("cp1251"), "file has bytes in line 2 that are not UTF-8: give its encoding with --encoding, such as windows-1252 for a file that a spreadsheet saved in Western Europe or America."),
        ('{"OpenActivity": 1}\n{"OpenActivity": 2}\n', f"No message of file holds events of the feed. {NO_ENVELOPE}"),
        ('{"Messages": []}', "No message of file holds events of the feed. It holds none."),
        ('{"Messages": [', "file is JSON that is damaged, broke off or has a value of more than 64 MiB."),
        (b"BZh91AY&SY", "file is a bzip2: unpack it, and load its files."),
        (b"PAR1\x15\x04", "file is a Parquet file: write its rows as CSV in UTF-8, and load that."),
        (zipped(**{"[Content_Types].xml": "<x/>", "xl/workbook.xml": "<x/>"}), "file is a spreadsheet or document: save its rows as CSV in UTF-8, and load that."),
        (zipped(a=" " * 20_000_000), "file unpacks to 20,000,000 bytes from 19,448, which no file of events does."),
        (gzip.compress(b"activityId\n" + b"x" * 10)[:12], "file is damaged or cut off. What comes before it was loaded: load the file again when it is whole."),
        ('activityType,activityId,timestamp\nOpen,"' + "x" * 2_000_000, "file is not valid CSV in a line (field larger than field limit (1048576)). What comes before it was loaded: correct the line, and load it again."),
    ],
    # Names of their own: the texts hold times, and two workers would collect two sets of tests.
    ids=["prose", "nothing", "another page", "an error of MessageGears", "csv without a type", "a torn zip", "a bomb of gzip", "a bomb in a bomb", "csv without a header", "csv without times", "csv without ids", "windows-1252", "windows-1251", "events as json", "no message", "torn json", "bzip2", "parquet", "a workbook", "a bomb", "a torn gzip", "a cell without an end"],
)  # fmt: skip
def test_what_is_no_file_of_the_feed_is_one_sentence_and_no_content(lake: Lake, tmp_path: Path, content: str | bytes, said: str) -> None:
    (loaded,) = load(lake, tmp_path / "file", content)
    assert loaded.failure == said
    assert loaded.new == 0


@pytest.mark.parametrize("name", ["windows-1252", "iso-8859-15", "cp1251", "utf-8", "shift_jis"])
def test_a_file_in_an_encoding_that_is_given_is_read_in_it(lake: Lake, tmp_path: Path, name: str) -> None:
    text = {"cp1251": "\u042f \u0436", "shift_jis": "\u65e5\u672c"}.get(name, "Caf\u00e9 \u20ac")
    (tmp_path / "file").write_bytes(f"activityType,activityId,timestamp,userAgent\nOpen,o1,2026-02-28T10:00:00Z,{text}\n".encode(name))
    (loaded,) = load_files(lake, SETTINGS, [tmp_path / "file"], encoding=known_encoding(name))
    assert (loaded.failure, loaded.notes) == (None, [])
    flatten_sources(lake)
    assert rows_of(lake, "silver", "opens")["user_agent"].to_list() == [text]


def test_of_a_file_that_is_said_to_be_utf_8_other_bytes_are_kept_as_windows_1252(lake: Lake, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(
        bundle(item("OpenActivity", UserAgent="a\u00e9b")).encode()
        + b"\n<!-- -->"
        + bundle(item("ClickActivity", UserAgent="@")).encode().replace(b"@", b"\xe9\x80")
    )
    (loaded,) = load_files(lake, SETTINGS, [tmp_path / "file"], encoding=known_encoding("utf8"))
    assert (loaded.failure, loaded.notes) == (None, ["has bytes in line 2 that are not UTF-8: they were read as windows-1252"])
    flatten_sources(lake)
    assert [rows_of(lake, "silver", table)["user_agent"].item() for table in ("opens", "clicks")] == ["a\u00e9b", "\u00e9\u20ac"]


def test_what_a_csv_has_beside_the_feed_is_noted(lake: Lake, tmp_path: Path) -> None:
    (loaded,) = load(
        lake, tmp_path / "a.csv", "activityType,activityId,timestamp,jobId\nOpen,o1,2026-02-28T10:00:00Z,7\nOpen,o2,2026-02-28T10:00:00Z\n"
    )
    assert loaded.notes == [
        "has columns that no event of the feed has, whose cells are in _rescued_data: JobId",
        "has 1 rows that do not fit the header or name no activity: they are in rejected_items",
    ]


def test_a_message_without_events_beside_others_is_a_reject(lake: Lake, tmp_path: Path) -> None:
    test_event = {"Service": "Amazon S3", "Event": "s3:TestEvent"}
    (loaded,) = load(
        lake, tmp_path / "a.json", "\n".join(json.dumps(each) for each in (test_event, {"TopicArn": "a", "Message": bundle(OPEN)}, "x"))
    )
    assert (loaded.failure, loaded.items) == (None, 3)
    assert events(lake) == {"opens": ["o1"]}
    assert rows_of(lake, "silver", "rejected_items")["reason"].to_list() == ["not_xml", "not_xml"]


@given(
    st.lists(
        st.recursive(
            st.none() | st.text(max_size=6) | st.booleans(),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
            max_leaves=6,
        ),
        max_size=4,
    ),
    st.integers(1, 9),
    st.sampled_from(["\n", "", " ", ","]),
    st.booleans(),
)
def test_a_file_of_json_is_cut_where_its_values_end(values: list[object], size: int, between: str, ascii_only: bool) -> None:
    """Whatever the pieces that it is read in."""
    values = [each for each in values if isinstance(each, (str, dict))]
    text = between.join(json.dumps(each, ensure_ascii=ascii_only) for each in values)
    found = list(bodies_of_json(text[at : at + size] for at in range(0, len(text), size)))
    assert found == [each if isinstance(each, str) else json.dumps(each, ensure_ascii=False) for each in values]


@pytest.mark.parametrize("order", list(permutations(range(4)))[::5])
def test_a_lake_that_took_files_and_messages_in_any_order_is_the_one_made_in_one_go(tmp_path: Path, order: tuple[int, ...]) -> None:
    """Only who came first may differ: which of two copies stays hangs on that (decision S2), so no two have the same id here."""
    contents = [
        CSV,
        CSV.replace("o1", "o2").replace("c1", "c2").replace(",", ";").replace("activityType", "Activity Type"),
        json.dumps([bundle(item("OpenActivity", ActivityId="o3", Timestamp="2026-02-28 10:00:00+0000"))]),
        "activityType,activityId,timestamp\nOpen,o4\n",
    ]
    lakes = [Lake(str(tmp_path / "steps")), Lake(str(tmp_path / "once"))]
    for number in order:
        if number % 2:
            receive(lakes[0], [contents[number]], first=number)
        else:
            load(lakes[0], tmp_path / "file", contents[number])
        flatten_sources(lakes[0])
    receive(lakes[1], [contents[1]], first=1)
    receive(lakes[1], [contents[3]], first=3)
    list(load_files(lakes[1], SETTINGS, files(tmp_path, a=contents[0], b=contents[2])))
    flatten_sources(lakes[1])
    lineage = ("message_id", "received_at", "received_date", "item_index")
    for table in ("opens", "clicks", "rejected_items"):
        first, second = (rows_of(each, "silver", table).drop(lineage).sort(pl.all()) for each in lakes)
        assert_frame_equal(first, second)
    assert rows_of(lakes[0], "silver", "opens")["activity_id"].sort().to_list() == ["o1", "o2", "o3"]
    assert rows_of(lakes[0], "silver", "rejected_items")["reason"].to_list() == ["torn_row"]


def test_a_file_that_is_not_there_is_one_sentence(lake: Lake, tmp_path: Path) -> None:
    (loaded,) = load_files(lake, SETTINGS, [tmp_path / "nothing"])
    assert loaded.failure == "nothing cannot be read: no such file or directory."


@pytest.mark.parametrize("count", [1, 40, 2_000])
@pytest.mark.parametrize(
    "damage",
    [
        lambda packed: packed + b"junk",
        lambda packed: packed[:-4],
        lambda packed: packed[:-8] + b"\0" * 8,
        lambda packed: packed + packed[:12],
    ],
    ids=["junk behind", "no length", "another checksum", "a second that broke off"],
)
def test_of_a_damaged_gzip_all_that_can_be_unpacked_is_loaded(
    lake: Lake, tmp_path: Path, damage: Callable[[bytes], bytes], count: int
) -> None:
    """Python's gzip loses what the read that meets the damage has unpacked: of a small file all, and the command said that it was loaded."""
    opens = [item("OpenActivity", ActivityId=f"o{number}") for number in range(count)]
    (loaded,) = load(lake, tmp_path / "a.gz", damage(gzip.compress(bundle(*opens).encode())))
    assert loaded.items == count
    assert loaded.failure is not None
    assert "is damaged or cut off" in loaded.failure


@pytest.mark.parametrize(
    ("end", "breaks"), [('"2026-02-28T11:', True), ('"a\nb', True), ('a"b', False), ('"a""b"', False), ('"a"b', False), ("", False)]
)
def test_a_csv_that_breaks_off_within_quotes_says_so(lake: Lake, tmp_path: Path, end: str, breaks: bool) -> None:
    (loaded,) = load(lake, tmp_path / "a.csv", f"activityType,activityId,timestamp\nOpen,o1,x\nOpen,o2,{end}")
    assert loaded.items == 2
    assert (loaded.failure is not None) == breaks
    if breaks:
        assert loaded.failure == "a.csv is damaged or cut off. What comes before it was loaded: load the file again when it is whole."


@given(st.binary(max_size=300), st.lists(st.binary(max_size=50), max_size=3), st.integers(0, 400))
def test_a_gzip_is_unpacked_as_far_as_it_goes(content: bytes, more: list[bytes], length: int) -> None:
    packed = b"".join(map(gzip.compress, [content, *more]))
    whole = b"".join([content, *more])
    assert Gunzipping(io.BufferedReader(io.BytesIO(packed))).read() == whole
    torn, unpacked = Gunzipping(io.BufferedReader(io.BytesIO(packed[:length]))), b""
    try:
        while part := torn.read(16):
            unpacked += part
    except EOFError:
        assert 0 < length < len(packed)
    assert whole.startswith(unpacked)


def test_of_a_file_that_broke_off_what_is_there_lands_and_a_note_says_so(lake: Lake, tmp_path: Path) -> None:
    (loaded,) = load(lake, tmp_path / "file", bundle(OPEN, CLICK).removesuffix("</ActivityItems>"))
    assert (
        loaded.failure
        == "file is damaged or cut off in line 1, behind 2 items. What comes before it was loaded: load the file again when it is whole."
    )
    assert events(lake) == {"opens": ["o1"], "clicks": ["c1"]}
    # Half of a gzip: what was committed before the tear stays.
    many = "".join(item("OpenActivity", ActivityId=f"{number:032x}", Url=f"{hash(number * 7919):x}") for number in range(20_000))
    (torn,) = load(lake, tmp_path / "torn.gz", gzip.compress(bundle(many).encode())[:-50_000])
    assert torn.failure == (
        f"torn.gz is damaged or cut off in line 1, behind {torn.items:,} items. What comes before it was loaded: load the file again when it is whole."
    )
    assert 0 < torn.items < 20_000


def test_an_item_that_never_closes_ends_with_its_bundle_and_costs_none_behind_it(lake: Lake, tmp_path: Path) -> None:
    torn = "<ActivityItems><OpenActivity><ActivityId>torn</ActivityId>"
    load(lake, tmp_path / "lines.xml", f"{torn}\n{bundle(CLICK)}\n{bundle(OPEN)}")
    assert events(lake) == {"opens": ["o1"], "clicks": ["c1"]}
    assert rows_of(lake, "silver", "rejected_items")["reason"].to_list() == ["malformed_xml"]


LOST_START = "<ActivityId>c9</ActivityId><Timestamp>2026-02-28T10:00:00Z</Timestamp></ClickActivity>"


@pytest.mark.parametrize(
    ("stray", "fragments"),
    [
        ("one line of a log", ["one line of a log"]),
        ("<ClickActivity <ActivityId>c9</ActivityId></ClickActivity>", ["<ClickActivity <ActivityId>c9</ActivityId></ClickActivity>"]),
        (LOST_START, [LOST_START]),
        ("<ActivityId>c9</ActivityId>", ["<ActivityId>c9</ActivityId>"]),
        ("</ClickActivity>", ["</ClickActivity>"]),
        ("<Note>call them</Note>", ["<Note>call them</Note>"]),
        ("<![CDATA[x]]>", ["<![CDATA[x]]>"]),
    ],
)
@pytest.mark.parametrize("place", ["between", "before", "behind"])
def test_what_stands_between_bundles_is_a_reject_and_costs_none_of_them(
    lake: Lake, tmp_path: Path, place: str, stray: str, fragments: list[str]
) -> None:
    """Passed over, a damaged event was in no table and no count, and the command said that all was well."""
    parts = {
        "before": [stray, bundle(OPEN), bundle(CLICK)],
        "between": [bundle(OPEN), stray, bundle(CLICK)],
        "behind": [bundle(OPEN), bundle(CLICK), stray],
    }
    (loaded,) = load(lake, tmp_path / "lines.xml", '<?xml version="1.0"?>\n' + "\n".join(parts[place]))
    assert loaded.failure is None
    found = events(lake)
    assert found["opens"] == ["o1"]
    assert "c1" in found["clicks"]
    rejected = rows_of(lake, "silver", "rejected_items")["fragment"]
    assert "".join(fragments) in "".join(rejected)
    assert conservation(lake, source="loaded_files", above=0).holds


@pytest.mark.parametrize(
    "text",
    [
        f"{bundle(OPEN)}\n<!-- said --><?pi x?>\n{bundle(CLICK)}",
        f'<?xml version="1.0"?>\n{bundle(OPEN)}\n<?xml version="1.0"?>\n{bundle(CLICK)}\n',
        RESPONSE.format(bundle(OPEN)) + "\n" + RESPONSE.format(bundle(CLICK)),
        RESPONSE.format(f"<Paging><Page>1</Page><Next/></Paging>{bundle(OPEN)}<Note a='>'>n</Note>{bundle(CLICK)}<Last>true</Last>"),
        f"<!DOCTYPE Feed>\n<Feed xmlns='u'>\n<Day>{bundle(OPEN)}</Day>\n{bundle(CLICK)}</Feed>",
    ],
)
def test_heads_of_responses_and_what_wraps_bundles_are_no_rejects(lake: Lake, tmp_path: Path, text: str) -> None:
    load(lake, tmp_path / "file.xml", text)
    assert events(lake) == {"opens": ["o1"], "clicks": ["c1"]}
    assert rows_of(lake, "silver", "rejected_items").is_empty()


@pytest.mark.parametrize("container", ["{0}{1}", "{0}<ActivityItems/>{1}", "<ActivityItems>{0}{1}</ActivityItems>"])
def test_every_bundle_of_a_response_is_loaded(lake: Lake, tmp_path: Path, container: str) -> None:
    load(lake, tmp_path / "file.xml", RESPONSE.format(container.format(bundle(OPEN), bundle(CLICK))))
    assert events(lake) == {"opens": ["o1"], "clicks": ["c1"]}
    assert rows_of(lake, "silver", "rejected_items").is_empty()


@pytest.mark.parametrize(
    ("whole", "length", "where"),
    [
        (RESPONSE.format("\n" + bundle(OPEN, CLICK)), -len("</AccountActivityResponse>"), "in line 2, behind 2 items"),
        (RESPONSE.format("\n" + bundle(OPEN, CLICK)), -len("</ActivityItems></AccountActivityResponse>"), "in line 2, behind 2 items"),
        (RESPONSE.format(""), -5, "in line 1, behind 0 items"),
        (f"{bundle(OPEN)}\n{bundle(CLICK)}\n<ActivityItems>", None, "in line 3, behind 2 items"),
    ],
)
def test_a_file_that_breaks_off_is_a_failure_that_says_where(
    lake: Lake, tmp_path: Path, whole: str, length: int | None, where: str
) -> None:
    (loaded,) = load(lake, tmp_path / "file", whole[:length])
    assert loaded.failure == f"file is damaged or cut off {where}. What comes before it was loaded: load the file again when it is whole."
    if loaded.items:
        assert events(lake) == {"opens": ["o1"], "clicks": ["c1"]}
        (again,) = load(lake, tmp_path / "file", whole if length else f"{bundle(OPEN)}\n{bundle(CLICK)}\n")
        assert (again.failure, again.new) == (None, 0)


def test_an_empty_day_loads_nothing(lake: Lake, tmp_path: Path) -> None:
    (loaded,) = load(lake, tmp_path / "file", RESPONSE.format(""))
    assert (loaded.failure, loaded.items, loaded.bundles) == (None, 0, 0)


def test_names_in_a_zip_are_text_and_one_that_is_none_is_a_damaged_zip(lake: Lake, tmp_path: Path) -> None:
    names = [
        "[/nope].xml",
        "[bold].xml",
        "a\nb.xml",
        "\x1b[31m.xml",
        "../../a.xml",
        "/a.xml",
        "\u202e.xml",
        "C:\\a.xml",
        "100%.xml",
        "{a}.xml",
        "日本.xml",
    ]
    whole = zipped(**{name: bundle(item("OpenActivity", ActivityId=name.encode().hex())) for name in names})
    loaded = load(lake, tmp_path / "[z].zip", whole)
    assert [(each.name, each.new, each.failure) for each in loaded] == [(f"[z].zip/{name}", 1, None) for name in names]
    assert set(rows_of(lake, "bronze", "loaded_files")["file_name"]) == {f"[z].zip/{name}" for name in names}
    (broken,) = load(lake, tmp_path / "z.zip", whole.replace("日本".encode(), b"\xff" * 6))
    assert broken.failure == "z.zip is a damaged zip, or cut off: load it again when it is whole."


def test_one_bad_file_of_a_zip_keeps_no_other_away(lake: Lake, tmp_path: Path) -> None:
    loaded = load(lake, tmp_path / "z.zip", zipped(a="hello", b=bundle(OPEN)))
    assert [(each.name, each.new, each.failure is None) for each in loaded] == [("z.zip/a", 0, False), ("z.zip/b", 1, True)]


class Pipe(io.RawIOBase):
    """A stream that cannot go back; ``breaks`` has it fail at its end."""

    def __init__(self, content: bytes, *, breaks: bool = False) -> None:
        self._content = io.BytesIO(content)
        self._breaks = breaks

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        length = self._content.readinto(buffer)
        if self._breaks and not length:
            raise OSError(5, "Input/output error")
        return length


def test_standard_input_is_a_file_too_and_a_zip_can_come_through_a_pipe(lake: Lake) -> None:
    (loaded,) = load_files(lake, SETTINGS, [Pipe(zipped(a=bundle(OPEN)))])  # type: ignore[list-item]
    assert (loaded.name, loaded.new) == ("standard input/a", 1)


def an_open(name: str) -> str:
    return bundle(item("OpenActivity", ActivityId=name))


def large(name: str) -> str:
    """An open that fills a bundle: what is behind it in a file is in another one."""
    return bundle(item("OpenActivity", ActivityId=name, Url="x" * 2**18))


def files(folder: Path, **contents: str | bytes) -> list[Path]:
    for name, content in contents.items():
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return [folder / name for name in contents]


def counts(loaded: Iterable[Loaded]) -> list[tuple[str, int, int, int]]:
    return [(each.name, each.items, each.new, each.already) for each in loaded]


def commits(lake: Lake) -> list[list[tuple[str, int]]]:
    """The files' names and parts of each commit, in the order of the commits."""
    rows = rows_of(lake, "bronze", "loaded_files").sort("received_at", "file_name", "part")
    groups = rows.group_by("batch_id", maintain_order=True).agg("file_name", "part")
    found = [list(zip(names, parts, strict=True)) for _, names, parts in groups.rows()]
    handle = lake.open("bronze", "loaded_files")
    assert handle is not None
    assert handle.version() == len(found)  # version 0 made the table
    return found


def test_small_files_share_a_commit_and_each_keeps_its_name_and_parts(lake: Lake, tmp_path: Path) -> None:
    given = files(
        tmp_path,
        a=an_open("o1"),
        b=large("o2") + large("o3"),
        c=gzip.compress(an_open("o4").encode()),
        z=zipped(x=an_open("o5"), y=CSV),
    )
    told: list[int] = []
    loaded = list(load_files(lake, SETTINGS, given, progress=told.append))
    assert counts(loaded) == [("a", 1, 1, 0), ("b", 2, 2, 0), ("c", 1, 1, 0), ("z/x", 1, 1, 0), ("z/y", 2, 1, 0)]
    assert [each.kind for each in loaded] == ["xml", "xml", "xml", "xml", "csv"]
    assert commits(lake) == [[("a", 0), ("b", 0), ("b", 1), ("c", 0), ("z/x", 0), ("z/y", 0)]]
    assert told == [7]


def test_a_commit_is_filled_across_files_up_to_the_settings(lake: Lake, tmp_path: Path) -> None:
    given = files(tmp_path, a=large("o1") + large("o2"), b=large("o3") + large("o4"), c=large("o5"))
    told: list[int] = []
    when = [(each.name, list(told)) for each in load_files(lake, Settings(batch_messages=3), given, progress=told.append)]
    assert commits(lake) == [[("a", 0), ("a", 1), ("b", 0)], [("b", 1), ("c", 0)]]
    # What became of b is told with the commit that has its end.
    assert when == [("a", [3]), ("b", [3, 5]), ("c", [3, 5])]


def test_a_commit_is_filled_across_files_up_to_the_bytes_of_the_settings(lake: Lake, tmp_path: Path) -> None:
    texts = [an_open(f"o{number}") for number in range(5)]
    given = files(tmp_path, **{f"f{number}": text for number, text in enumerate(texts)})
    loaded = list(load_files(lake, Settings(batch_bytes=2 * len(texts[0])), given))
    assert counts(loaded) == [(f"f{number}", 1, 1, 0) for number in range(5)]
    assert commits(lake) == [[("f0", 0), ("f1", 0)], [("f2", 0), ("f3", 0)], [("f4", 0)]]


def test_of_a_bundle_in_several_files_the_first_ones_is_new_whatever_commit_they_are_in(lake: Lake, tmp_path: Path) -> None:
    load(lake, tmp_path / "before", large("o9"))
    one, two, nine = large("o1"), large("o2"), large("o9")
    given = files(tmp_path, a=one + nine, b=one + two + one, c=two + nine, d=large("o3"))
    # In commits of three: a, a, b | b, b, c | c, d.
    loaded = list(load_files(lake, Settings(batch_messages=3), given))
    assert counts(loaded) == [("a", 2, 1, 1), ("b", 3, 1, 2), ("c", 2, 0, 2), ("d", 1, 1, 0)]
    assert commits(lake) == [[("before", 0)], [("a", 0)], [("b", 1)], [("d", 0)]]
    assert counts(load_files(lake, SETTINGS, given)) == [("a", 2, 0, 2), ("b", 3, 0, 3), ("c", 2, 0, 2), ("d", 1, 0, 1)]


def test_the_counts_of_files_are_right_where_the_answer_of_their_commit_is_lost(lake: Lake, tmp_path: Path) -> None:
    load(lake, tmp_path / "before", large("o2"))
    given = files(tmp_path, a=large("o1"), b=large("o2"), c=large("o1") + large("o3"))

    def lose_it(point: Failpoint, _: str) -> None:
        if point is Failpoint.COMMIT_DONE:
            on_reached(None)
            raise OSError("the connection was reset")

    on_reached(lose_it)
    try:
        loaded = list(load_files(lake, SETTINGS, given))
    finally:
        on_reached(None)
    assert counts(loaded) == [("a", 1, 1, 0), ("b", 1, 0, 1), ("c", 2, 1, 1)]
    assert commits(lake) == [[("before", 0)], [("a", 0), ("c", 1)]]


def test_files_that_fail_stand_in_their_place_and_cost_no_other_its_commit(lake: Lake, tmp_path: Path) -> None:
    torn = zipped(x=an_open("o2"), y=an_open("o3"))[:-30]
    given = [
        *files(tmp_path, bad="hello", a=an_open("o1"), torn=torn),
        # What came before the error is whole, however much is read at a time.
        Pipe("".join(large(f"p{number}") for number in range(5)).encode(), breaks=True),
        Pipe(b"", breaks=True),
        tmp_path / "nothing",
        *files(tmp_path, d=an_open("o5"), worse="{}"),
    ]
    loaded = list(load_files(lake, SETTINGS, given))  # type: ignore[arg-type]
    assert [(each.name, each.new, each.failure) for each in loaded] == [
        ("bad", 0, "bad is not a file of the feed: it is not XML, and its first line names no column of an activity."),
        ("a", 1, None),
        ("torn", 0, "torn is a damaged zip, or cut off: load it again when it is whole."),
        ("standard input", 5, "standard input cannot be read: input/output error. What comes before it was loaded: load it again."),
        ("standard input", 0, "standard input cannot be read: input/output error."),
        ("nothing", 0, "nothing cannot be read: no such file or directory."),
        ("d", 1, None),
        ("worse", 0, f"No message of worse holds events of the feed. {NO_ENVELOPE}"),
    ]
    assert commits(lake) == [[("a", 0), ("d", 0), *(("standard input", part) for part in range(5))]]


def test_files_of_which_none_can_be_loaded_leave_no_table(lake: Lake, tmp_path: Path) -> None:
    loaded = list(load_files(lake, SETTINGS, files(tmp_path, a="hello", b="<html/>")))
    assert [each.failure is None for each in loaded] == [False, False]
    assert lake.open("bronze", "loaded_files") is None
