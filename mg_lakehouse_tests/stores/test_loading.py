"""Files that somebody loads: in whatever form, each bundle once, beside what the queue and the daily files brought."""

from __future__ import annotations

import gzip
import io
import zipfile
from pathlib import Path

import pytest

from mg_lakehouse.demo.samples import samples
from mg_lakehouse.settings import Settings
from mg_lakehouse.stores.audit import conservation
from mg_lakehouse.stores.lake import Lake
from mg_lakehouse.stores.loading import Loaded, load_file
from mg_lakehouse.stores.reconcile import reconcile_sources
from mg_lakehouse.stores.silver import flatten_sources, unflattened
from mg_lakehouse_tests.events.frames import bundle, item
from mg_lakehouse_tests.stores.feeds import receive, rows_of

SETTINGS = Settings()
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
    return list(load_file(lake, SETTINGS, path, activity=options.get("activity")))


def zipped(**members: str) -> bytes:
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
    assert reconcile_sources(lake, times[0], times[0]).balances


def test_all_samples_of_the_document_in_one_zip(lake: Lake, tmp_path: Path) -> None:
    loaded = load(lake, tmp_path / "samples.zip", zipped(**samples()))
    assert [each.items for each in loaded] == [1] * 17
    reports = flatten_sources(lake)
    # Two of the samples are not well-formed.
    assert (reports["loaded_files"].rows, reports["loaded_files"].rejected) == (15, {"malformed_xml": 2})


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("hello", "file is no file of the feed: it is no XML, and its first line names no column of an activity."),
        ("", "file is no file of the feed: it is no XML, and its first line names no column of an activity."),
        ("<html><body>404</body></html>", "file is no file of the feed: it holds no ActivityItems."),
        (RESPONSE.replace("REQUEST_SUCCESSFUL", "REQUEST_FAILED").format("<RequestErrors/>"), "file holds an error of MessageGears in the place of activities: fetch it again."),
        (CSV.replace("activityType", "kindOf"), "No column of file names the activity: say what its rows are with --type."),
        (zipped(a=bundle(OPEN))[:-30], "file is a damaged zip, or broke off: load it again when it is whole."),
        (zipped(a=" " * 20_000_000), "file unpacks to 20,000,000 bytes from 19,448, which no file of events does."),
        (gzip.compress(b"activityId\n" + b"x" * 10)[:-9], "file is damaged or broke off. What was whole before that was loaded: load it again when it is whole."),
        ('activityType,activityId,timestamp\nOpen,"' + "x" * 2_000_000, "file is no CSV in a line (field larger than field limit (1048576)). What stands before it was loaded: mend the line, and load it again."),
    ],
    # Names of their own: the texts hold times, and two workers would collect two sets of tests.
    ids=["prose", "nothing", "another page", "an error of MessageGears", "csv without a type", "a torn zip", "a bomb", "a torn gzip", "a cell without an end"],
)  # fmt: skip
def test_what_is_no_file_of_the_feed_is_one_sentence_and_no_content(lake: Lake, tmp_path: Path, content: str | bytes, said: str) -> None:
    (loaded,) = load(lake, tmp_path / "file", content)
    assert loaded.failure == said
    assert loaded.new == 0


def test_a_file_that_is_not_there_is_one_sentence(lake: Lake, tmp_path: Path) -> None:
    (loaded,) = load_file(lake, SETTINGS, tmp_path / "nothing")
    assert loaded.failure == "nothing cannot be read: no such file or directory."


def test_of_a_file_that_broke_off_what_is_there_lands_and_a_note_says_so(lake: Lake, tmp_path: Path) -> None:
    (loaded,) = load(lake, tmp_path / "file", bundle(OPEN, CLICK).removesuffix("</ActivityItems>"))
    assert loaded.notes == ["broke off before its end tag"]
    assert events(lake) == {"opens": ["o1"], "clicks": ["c1"]}
    # Half of a gzip: what was committed before the tear stays.
    many = "".join(item("OpenActivity", ActivityId=f"{number:032x}", Url=f"{hash(number * 7919):x}") for number in range(20_000))
    (torn,) = load(lake, tmp_path / "torn.gz", gzip.compress(bundle(many).encode())[:-50_000])
    assert torn.failure == "torn.gz is damaged or broke off. What was whole before that was loaded: load it again when it is whole."
    assert 0 < torn.items < 20_000


def test_an_item_that_never_closes_ends_with_its_bundle_and_costs_none_behind_it(lake: Lake, tmp_path: Path) -> None:
    torn = "<ActivityItems><OpenActivity><ActivityId>torn</ActivityId>"
    load(lake, tmp_path / "lines.xml", f"{torn}\n{bundle(CLICK)}\n{bundle(OPEN)}")
    assert events(lake) == {"opens": ["o1"], "clicks": ["c1"]}
    assert rows_of(lake, "silver", "rejected_items")["reason"].to_list() == ["malformed_xml"]


def test_an_empty_day_loads_nothing(lake: Lake, tmp_path: Path) -> None:
    (loaded,) = load(lake, tmp_path / "file", RESPONSE.format(""))
    assert (loaded.failure, loaded.items, loaded.bundles) == (None, 0, 0)


def test_one_bad_file_of_a_zip_keeps_no_other_away(lake: Lake, tmp_path: Path) -> None:
    loaded = load(lake, tmp_path / "z.zip", zipped(a="hello", b=bundle(OPEN)))
    assert [(each.name, each.new, each.failure is None) for each in loaded] == [("z.zip/a", 0, False), ("z.zip/b", 1, True)]


def test_standard_input_is_a_file_too_and_a_zip_can_come_through_a_pipe(lake: Lake) -> None:
    class Pipe(io.RawIOBase):
        def __init__(self, content: bytes) -> None:
            self._content = io.BytesIO(content)

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
            return self._content.readinto(buffer)

    (loaded,) = load_file(lake, SETTINGS, Pipe(zipped(a=bundle(OPEN))))  # type: ignore[arg-type]
    assert (loaded.name, loaded.new) == ("standard input/a", 1)
