"""A lake is one place to every library that reads it, whatever its folder or key is called; or it is refused before anything is received."""

from __future__ import annotations

import os
import shutil
import tempfile
import unicodedata
from datetime import timedelta
from pathlib import Path

import duckdb
import polars as pl
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import mg_lakehouse
from mg_lakehouse.audit.hourly_balance import balance_hours_of_sources
from mg_lakehouse.bronze.append import append_batch
from mg_lakehouse.errors import ConfigurationError
from mg_lakehouse.lake.duck import extension_file
from mg_lakehouse.lake.file_stats import all_files, data_files
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.lake.sql import text
from mg_lakehouse.location import fault_of
from mg_lakehouse.maintenance.run import maintain
from mg_lakehouse.serving.sandbox.sandbox import ad_hoc
from mg_lakehouse.serving.views import build_catalog, shown_tables, snapshot_statements
from mg_lakehouse.settings import Settings, check_settings
from mg_lakehouse.silver.rebuild import rebuild
from mg_lakehouse.silver.report import TableCount
from mg_lakehouse.silver.update import flatten_new
from mg_lakehouse.testing.s3 import S3Server
from mg_lakehouse_tests.events.frames import bundle, item
from mg_lakehouse_tests.gold.helpers import build
from mg_lakehouse_tests.lake.feeds import START, batch, receive

DAY = timedelta(days=1)

NAMES = (
    "a b", " a", "a ", "a.", ".a", "..a", "~a", "$HOME", "${HOME}", "a;b", "a:b", "s3:", "a+b", "a&b", "a=b", "a,b", "a@b", "a!b", "a(b)",
    "a{b}c", "{}", "{{ a }}", 'a"b', "a'b", "a`b", "a<b>", "a*b", "ä", unicodedata.normalize("NFD", "ä"), "日本", "😀", "\u202ea", "x" * 200,
    "received_date=2020-01-01", "--a",
)  # fmt: skip
"""Names of a folder that every library takes for the same."""

EVERYTHING = " .~$a b{c}{{ d }}e\"f'g`h<i>jkl*m;n:o+p&q=r,s@t!u(v)ä" + unicodedata.normalize("NFD", "é") + "日本😀. "

REFUSED = {
    "50% off": "%",
    "a%20b": "%",
    "%2e%2e": "%",
    "[x]": "[",
    "x]": "]",
    "a|b": "|",
    "a^b": "^",
    "a\\b": "\\",
    "a?b": "?",
    "a#b": "#",
    "a\nb": "U+000A",
    "a\tb": "U+0009",
    "a\x7fb": "U+007F",
    "a\x85b": "U+0085",
    "a\udcffb": "U+DCFF",
    "x" * 256: "too long",
}


def click(activity: str) -> str:
    return item("ClickActivity", ActivityId=activity, RequestId="j1", RecipientId=activity)


def feed(lake: Lake) -> None:
    """Two runs over two days, with a copy of what the first had: what a second run must find."""
    receive(lake, [bundle(click("c1"), click("c2"))])
    assert flatten_new(lake).tables["clicks"] == TableCount(rows=2)
    assert append_batch(lake, batch({"m0": bundle(click("c1"), click("c2"))}, batch_id="again"), "again").new == 0
    receive(lake, [bundle(click("c2"), click("c3"))], first=1, received_at=START + DAY)
    assert flatten_new(lake).tables["clicks"] == TableCount(rows=1, duplicates=1)


def stays_right(lake: Lake) -> None:
    """What looks at files, file by file, and what writes them anew."""
    span = (START - DAY, START + 2 * DAY)
    assert balance_hours_of_sources(lake, *span).balances
    assert sum(hour.in_bronze for hour in balance_hours_of_sources(lake, *span).hours) == 2
    assert not any(each.changed for each in rebuild(lake, [START.date(), (START + DAY).date()]))
    list(maintain(lake, Settings(lake_uri=lake.uri)))
    handle = lake.open("silver", "clicks")
    assert handle is not None
    assert sorted(data_files(handle)["address"]) == sorted(all_files(handle))
    assert lake.scan(all_files(handle), handle).select("activity_id").collect()["activity_id"].sort().to_list() == ["c1", "c2", "c3"]


def is_asked(lake: Lake, folder: Path) -> None:
    """By `sql`, by a DuckDB of somebody's own with the views that we write, and without the Delta extension."""
    asking = Settings(lake_uri=lake.uri, catalog=folder / "catalog.duckdb")
    query = "select count(*) as n, count(distinct activity_id) as ids from silver.clicks"
    build_catalog(lake, asking, folder / "catalog.duckdb")
    with ad_hoc(lake, asking) as asked:
        assert asked.rows(query).read_all().to_pylist() == [{"n": 3, "ids": 3}]
    if not lake.is_local:
        return
    script = (folder / "views.sql").read_text().replace("install delta;", "")
    with duckdb.connect() as own:
        own.execute(script.replace("load delta;", f"load {text(str(extension_file('delta')))};"))
        assert own.execute(query).fetchall() == [(3, 3)]
    with duckdb.connect() as own:
        for statement in snapshot_statements(shown_tables(lake, asking)):
            own.execute(statement)
        assert own.execute(query).fetchall() == [(3, 3)]


@pytest.mark.parametrize("names", [NAMES[:12], NAMES[12:23], NAMES[23:]], ids=["dots and dollars", "signs", "quotes and letters"])
def test_folders_of_any_names_are_one_place(tmp_path: Path, names: tuple[str, ...]) -> None:
    """Each name is a folder on the way to a lake, all of a group on the way to the same one: a lake takes seconds, whatever it is called."""
    folder = tmp_path.joinpath(*names)
    lake = Lake(str(folder / "lake"))
    feed(lake)
    stays_right(lake)
    is_asked(lake, folder)
    for number, name in enumerate(names):
        assert [path.name for path in tmp_path.joinpath(*names[:number]).iterdir()] == [name]
    assert {path.name for path in folder.iterdir()} == {"lake", "catalog.duckdb", "views.sql"}


def test_a_name_is_no_pattern_that_finds_a_copy_too(tmp_path: Path) -> None:
    """Without the Delta extension DuckDB is given the names of files, and takes them for patterns."""
    lake = Lake(str(tmp_path / "a*b" / "lake"))
    feed(lake)
    shutil.copytree(tmp_path / "a*b", tmp_path / "a-b")
    stays_right(lake)
    is_asked(lake, tmp_path)


def test_gold_is_built_wherever_the_lake_is(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path / EVERYTHING / "lake"))
    feed(lake)
    build(lake)
    stays_right(lake)
    receive(lake, [bundle(click("c4"))], first=2, received_at=START + DAY)
    flatten_new(lake)
    build(lake)
    handle = lake.open("gold", "job_metrics")
    assert handle is not None
    metrics = lake.scan(all_files(handle), handle).filter(channel="email").collect()
    assert metrics["click_events"].to_list() == [4]


@pytest.mark.parametrize(("name", "named"), REFUSED.items(), ids=[str(number) for number in range(len(REFUSED))])
def test_a_name_that_is_not_the_same_to_all_is_refused(tmp_path: Path, name: str, named: str) -> None:
    for uri in (f"{tmp_path}/{name}/lake", f"{tmp_path}/{name}"):
        with pytest.raises(ConfigurationError, match=r"^lake_uri: .*(rename|too long)") as refused:
            check_settings({"lake_uri": uri})
        assert named in str(refused.value)
        with pytest.raises(ConfigurationError, match=r"^MG_LAKE_URI: "):
            Lake(uri)
    assert list(tmp_path.iterdir()) == []


def test_where_the_lake_is_counts_and_not_how_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "[x]").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "[x]")
    (tmp_path / "a b").mkdir()
    (tmp_path / "b").symlink_to(tmp_path / "a b")
    with pytest.raises(ConfigurationError, match=r"holds \["):
        Lake(str(tmp_path / "link" / "lake"))
    monkeypatch.chdir(tmp_path / "[x]")
    with pytest.raises(ConfigurationError, match=r"holds \["):
        Lake(".lake")
    monkeypatch.chdir(tmp_path / "a b")
    monkeypatch.setenv("HOME", str(tmp_path / "a b"))
    places = ("lake", "./lake", "x/../lake", "~/lake", f"/{tmp_path}/a b/lake", f"file://{tmp_path}/a%20b/lake", f"{tmp_path}/a b/lake/")
    assert {Lake(uri).root for uri in places} == {str(tmp_path / "a b" / "lake")}
    feed(Lake("lake"))
    stays_right(Lake(f"file://{tmp_path}/a%20b/lake"))
    is_asked(Lake(str(tmp_path / "b" / "lake")), tmp_path / "b")


@pytest.mark.parametrize(
    ("uri", "why"),
    [
        ("~nobody-at-all/lake", "no user of this machine"),
        ("gs://bucket/lake", "a folder or an s3:// address"),
        ("S3://bucket/lake", "a folder or an s3:// address"),
        ("http://bucket/lake", "a folder or an s3:// address"),
        ("s3://", "names no bucket"),
        ("s3:///lake", "names no bucket"),
        ("s3://bucket/a#b", "holds #"),
        ("s3://bucket/a?b", r"holds \?"),
        ("s3://bucket/a*b", r"holds \*"),
        ("s3://bucket/50%", "holds %"),
        ("s3://bucket/a%20b", "holds %"),
        ("s3://bucket/[x]", r"holds \["),
        ("s3://bucket/a|b", r"holds \|"),
        ("s3://bucket/a^b", r"holds \^"),
        ("s3://bucket/a\\b", r"holds \\"),
        ("s3://bucket/a\nb", r"U\+000A"),
        ("s3://bucket/a//b", r"empty, \. or \.\."),
        ("s3://bucket/a/../b", r"empty, \. or \.\."),
        ("s3://bucket/./b", r"empty, \. or \.\."),
    ],
)
def test_an_address_that_is_not_the_same_to_all_is_refused(uri: str, why: str) -> None:
    with pytest.raises(ConfigurationError, match=why):
        check_settings({"lake_uri": uri})
    with pytest.raises(ConfigurationError, match=why):
        Lake(uri)


@pytest.fixture(scope="module")
def bucket(s3_server: S3Server) -> str:
    return s3_server.make_bucket("paths")


def test_a_key_of_any_name_is_one_place(bucket: str, s3_server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All names in one key, each a part of it: a lake on S3 takes half a minute to be written, rebuilt, maintained and asked."""
    parts = ["a b+c&d=e;f:g@h,i!j", "a{b}\"c'd<e>(f)`g", "ä" + unicodedata.normalize("NFD", "ä") + "日本😀", "~$HOME.", " a "]
    for variable, value in s3_server.environment.items():
        monkeypatch.setenv(variable, value)
    lake = Lake("/".join([bucket, *parts, "lake"]))
    feed(lake)
    stays_right(lake)
    is_asked(lake, tmp_path)
    keys = [each["Key"].split("/") for each in s3_server.client().list_objects_v2(Bucket="paths")["Contents"]]
    assert {tuple(key[: len(parts)]) for key in keys} == {tuple(parts)}


_ODD = st.sampled_from(
    [*" %#?*[]{}()<>\"'`\\|^~$&;:+=,@!.-_aä\u0308日😀\u202e\n\t\x7f\x85", "%20", "%2F", "..", "s3:", "{{", "}}", "$HOME"]
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(_ODD, min_size=1, max_size=12).map("".join))
def test_what_is_not_refused_is_one_place_and_what_is_refused_stays_untouched(name: str) -> None:
    """The grammar of names: signs that some library reads otherwise, mixed at random."""
    assume(name.strip("/") not in {".", ".."})
    with tempfile.TemporaryDirectory() as parent:
        uri = f"{parent}/{name}/lake"
        if fault_of(uri) is not None:
            with pytest.raises(ConfigurationError):
                Lake(uri)
            assert list(Path(parent).iterdir()) == []
            return
        lake = Lake(uri)
        feed(lake)
        handle = lake.open("silver", "clicks")
        assert handle is not None
        assert [path.name for path in Path(parent).iterdir()] == [name]
        assert all(Path(file).is_file() and file.startswith(f"{os.path.realpath(parent)}/{name}/") for file in all_files(handle))
        assert lake.scan(all_files(handle), handle).select(pl.len()).collect().item() == 3
        assert not any(each.changed for each in rebuild(lake, [START.date()]))


def test_what_delta_rs_calls_a_place_is_read_in_one_way() -> None:
    """It gives URLs; whoever takes one for a path works until somebody's folder has a space in it."""
    package = Path(mg_lakehouse.__file__).parent
    lines = [(module, line) for module in package.rglob("*.py") for line in module.read_text().splitlines()]
    wrong = [line.strip() for module, line in lines if ".file_uris(" in line and module.name != "file_stats.py"]
    wrong += [line.strip() for _, line in lines if ".table_uri" in line and "address_of(" not in line]
    wrong += [line.strip() for module, line in lines if "read_parquet({" in line and "file_list(" not in line]
    assert wrong == []
