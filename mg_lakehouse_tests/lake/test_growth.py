"""A catalogue that grows on a lake that exists: the next run adds the column, once, and an older release is kept off."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from deltalake import DeltaTable

from mg_lakehouse._util.progress import on_remark
from mg_lakehouse.audit.conservation import conservation
from mg_lakehouse.audit.hourly_balance import balance_hours_of_sources
from mg_lakehouse.audit.schema import schema_differences
from mg_lakehouse.audit.uniqueness import repeated_ids, repeated_new_ids
from mg_lakehouse.bronze.append import append_batch
from mg_lakehouse.bronze.tables import ACCOUNT_ACTIVITY, EVENT_FEED, LOADED_FILES
from mg_lakehouse.errors import PermanentError
from mg_lakehouse.events.catalogue import Column
from mg_lakehouse.lake.duck import connect
from mg_lakehouse.lake.failpoints import Failpoint
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.lake.tables import TableSpec
from mg_lakehouse.maintenance.run import maintain
from mg_lakehouse.serving.sandbox.sandbox import ad_hoc
from mg_lakehouse.serving.views import shown_tables, snapshot_statements
from mg_lakehouse.settings import Settings
from mg_lakehouse.silver.rebuild import rebuild
from mg_lakehouse.silver.report import TableCount
from mg_lakehouse.silver.tables import silver_spec
from mg_lakehouse.silver.update import flatten_new, flatten_sources
from mg_lakehouse.testing.s3 import S3Server
from mg_lakehouse_tests.events.frames import bundle, item
from mg_lakehouse_tests.faults.scenarios import at
from mg_lakehouse_tests.lake.feeds import START, batch, receive
from mg_lakehouse_tests.lake.releases import later_release

DAY = timedelta(days=1)
THEME = Column("link_theme", "string", "Theme that the link was shown in.", ("LinkTheme",))
SCORE = Column("bot_score", "int", "How sure the sender is.", ("BotScore",))
SEEN = Column("seen_at", "timestamp", "When it was seen.", ("SeenAt",))
TRUSTED = Column("is_trusted", "bool", "Whether the device is trusted.", ("IsTrusted",))


def click(activity: str, **children: str) -> str:
    return item("ClickActivity", ActivityId=activity, RequestId="t1", **children)


_lakes = count()


@contextmanager
def heard() -> Iterator[list[str]]:
    sentences: list[str] = []
    with on_remark(sentences.append):
        yield sentences


def operations(lake: Lake, layer: str, table: str) -> list[str]:
    return [str(commit["operation"]) for commit in reversed(opened(lake, layer, table).history())]


def clicks(lake: Lake) -> dict[str, Any]:
    return dict(table(lake, "silver", "clicks").select("activity_id", "link_theme").sort("activity_id").rows())


def opened(lake: Lake, layer: str, name: str) -> DeltaTable:
    return DeltaTable(f"{lake.root}/{layer}/{name}", storage_options=lake.storage_options())


def table(lake: Lake, layer: str, name: str) -> pl.DataFrame:
    return pl.DataFrame(opened(lake, layer, name).to_pyarrow_table())


@pytest.fixture(scope="module")
def bucket(s3_server: S3Server) -> str:
    return s3_server.make_bucket("growth")


@pytest.fixture(params=["local", "s3"])
def lake(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lake:
    """A lake of the release before, with two clicks, one of which says what nobody has a column for."""
    if request.param == "s3":
        server: S3Server = request.getfixturevalue("s3_server")
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        lake = Lake(f"{request.getfixturevalue('bucket')}/{next(_lakes)}")
    else:
        lake = Lake(str(tmp_path / "lake"))
    receive(lake, [bundle(click("old", LinkTheme="dark"), click("plain"))])
    flatten_new(lake)
    return lake


# What decides here is what the catalogue and the table have; only the long run asks it of a store as well.
LOCAL = pytest.mark.parametrize("lake", ["local", pytest.param("s3", marks=pytest.mark.faults)], indirect=True)


def test_the_next_run_adds_the_column_once_and_says_so(lake: Lake) -> None:
    with later_release(clicks=THEME):
        receive(lake, [bundle(click("new", LinkTheme="light"))], first=1, received_at=START + DAY)
        with heard() as sentences:
            assert flatten_new(lake).rows == 1
        assert sentences == [
            (
                "silver/clicks got the column link_theme, which the catalogue has and the table lacked. "
                "`mg-lakehouse backfill` fills it for earlier days."
            )
        ]
        receive(lake, [bundle(click("newer", LinkTheme="dim"))], first=2, received_at=START + DAY)
        with heard() as sentences:
            flatten_new(lake)
        assert sentences == []
        assert clicks(lake) == {"old": None, "plain": None, "new": "light", "newer": "dim"}
        assert operations(lake, "silver", "clicks") == ["CREATE TABLE", "WRITE", "ADD COLUMN", "WRITE", "WRITE"]
        handle = opened(lake, "silver", "clicks")
        assert {field.name: field.metadata for field in handle.schema().fields}["link_theme"] == {"comment": THEME.description}
        assert schema_differences(lake, "clicks") == []
        assert conservation(lake, above=0).holds
        assert (repeated_ids(lake, lake.open("silver", "clicks")), repeated_new_ids(lake, lake.open("silver", "clicks"), above=1)) == (0, 0)


def test_backfill_fills_the_column_of_the_days_before_and_nothing_else(lake: Lake) -> None:
    untouched = table(lake, "silver", "clicks").filter(activity_id="plain")
    with later_release(clicks=THEME):
        receive(lake, [bundle(click("new", LinkTheme="light"))], first=1, received_at=START + DAY)
        flatten_new(lake)
        made = list(rebuild(lake, [START.date(), (START + DAY).date()]))
        assert {(each.table, each.day): (each.added, each.removed) for each in made if each.changed} == {("clicks", START.date()): (1, 1)}
        assert clicks(lake) == {"old": "dark", "plain": None, "new": "light"}
        assert set(table(lake, "silver", "clicks")["_rescued_data"]) == {None}
        assert table(lake, "silver", "clicks").filter(activity_id="plain").drop("link_theme").equals(untouched)
        assert not any(each.changed for each in rebuild(lake, [START.date(), (START + DAY).date()]))


@LOCAL
def test_a_backfill_before_the_first_run_adds_the_column_too(lake: Lake) -> None:
    with later_release(clicks=THEME):
        list(rebuild(lake, [START.date()]))
        assert clicks(lake) == {"old": "dark", "plain": None}
        assert operations(lake, "silver", "clicks")[2:] == ["ADD COLUMN", "WRITE"]


@pytest.mark.parametrize(
    ("column", "text", "value"),
    [
        (SCORE, "7", 7),
        (SEEN, "2026-02-28T10:00:00Z", datetime(2026, 2, 28, 10, tzinfo=UTC)),
        (TRUSTED, "true", True),
    ],
)
def test_columns_of_every_type_are_added_and_filled(tmp_path: Path, column: Column, text: str, value: object) -> None:
    lake = Lake(str(tmp_path / "lake"))
    (element,) = column.elements
    receive(lake, [bundle(click("old", **{element: text}))])
    flatten_new(lake)
    with later_release(clicks=column):
        receive(lake, [bundle(click("new", **{element: text}))], first=1)
        flatten_new(lake)
        list(rebuild(lake, [START.date()]))
        assert dict(table(lake, "silver", "clicks").select("activity_id", column.name).rows()) == {"old": value, "new": value}


@LOCAL
def test_tables_without_new_rows_get_their_columns_with_the_others(lake: Lake) -> None:
    receive(lake, [bundle(item("OpenActivity", ActivityId="o1"))], first=1)
    flatten_new(lake)
    with later_release(clicks=THEME, opens=SCORE):
        assert lake.add_missing_columns([silver_spec(name) for name in ("clicks", "opens", "bounces")]) == {
            "clicks": ("link_theme",),
            "opens": ("bot_score",),
        }
        assert lake.add_missing_columns([silver_spec("clicks")]) == {}
        assert lake.open("silver", "bounces") is None


def test_runs_at_once_add_it_once(lake: Lake) -> None:
    with later_release(clicks=THEME):
        starts = threading.Barrier(4)
        failures: list[BaseException] = []

        def run(number: int) -> None:
            try:
                starts.wait()
                receive(lake, [bundle(click(f"c{number}", LinkTheme="x"))], first=10 + number)
                flatten_new(lake)
            except BaseException as error:  # noqa: BLE001  told to the test
                failures.append(error)

        threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        flatten_new(lake)
        assert operations(lake, "silver", "clicks").count("ADD COLUMN") == 1
        assert sorted(clicks(lake)) == ["c0", "c1", "c2", "c3", "old", "plain"]


def test_a_commit_under_way_meets_the_column_that_another_run_adds(lake: Lake) -> None:
    """The same release, or the one before: a metadata commit makes it look again, and then it knows the column, or is refused."""
    receive(lake, [bundle(click("new", LinkTheme="light"))], first=1)

    def another_run() -> None:
        with later_release(clicks=THEME):
            lake.add_missing_columns([silver_spec("clicks")])

    with at(Failpoint.COMMIT_DECIDED, another_run, about="silver/clicks"), pytest.raises(PermanentError, match="link_theme"):
        flatten_new(lake)
    assert sorted(table(lake, "silver", "clicks")["activity_id"]) == ["old", "plain"]
    with later_release(clicks=THEME):
        receive(lake, [bundle(click("newer", LinkTheme="dim"))], first=2)
        with at(Failpoint.COMMIT_DECIDED, lambda: append_by_another(lake), about="silver/clicks"):
            flatten_new(lake)
        assert clicks(lake) == {"old": None, "plain": None, "new": "light", "newer": "dim"}


def append_by_another(lake: Lake) -> None:
    flatten_new(lake)


@LOCAL
def test_an_older_release_writes_nothing_and_says_why(lake: Lake) -> None:
    with later_release(clicks=THEME):
        receive(lake, [bundle(click("new", LinkTheme="light"))], first=1)
        flatten_new(lake)
    receive(lake, [bundle(click("newest", LinkTheme="dim"))], first=2)
    version = opened(lake, "silver", "clicks").version()
    told = (
        f"silver/clicks in the lake {lake.uri} has the column link_theme, which this mg-lakehouse does not know, and would get rows "
        "without it: a newer release wrote here. Upgrade mg-lakehouse."
    )
    for write in (
        lambda: flatten_new(lake),
        lambda: list(rebuild(lake, [START.date()])),
        lambda: lake.add_missing_columns([silver_spec("clicks")]),
    ):
        with pytest.raises(PermanentError) as refused:
            write()
        assert str(refused.value) == told
    assert opened(lake, "silver", "clicks").version() == version
    with later_release(clicks=THEME):
        flatten_new(lake)
        assert clicks(lake) == {"old": None, "plain": None, "new": "light", "newest": "dim"}
        assert conservation(lake, above=0).holds


@LOCAL
def test_a_column_of_another_type_is_refused(lake: Lake) -> None:
    with later_release(clicks=SCORE):
        lake.add_missing_columns([silver_spec("clicks")])
    with (
        later_release(clicks=replace(SCORE, type="string")),
        pytest.raises(PermanentError, match=r"The column bot_score of silver/clicks .* is Int64"),
    ):
        lake.add_missing_columns([silver_spec("clicks")])


def grown(spec: TableSpec) -> TableSpec:
    return replace(spec, schema=pl.Schema({**spec.schema, "relay": pl.String()}), comments={**spec.comments, "relay": "What it came in."})


def append_one(lake: Lake, spec: TableSpec, name: str, *, batch_id: str, relay: str | None) -> int:
    """Commit the message ``name`` of one click to a bronze table; how many messages were new."""
    rows = batch({name: bundle(click(name))}, batch_id=batch_id)
    rest = {
        column: pl.lit(relay if column == "relay" else None, dtype) for column, dtype in spec.schema.items() if column not in rows.columns
    }
    return append_batch(lake, rows.with_columns(**rest).select(spec.schema.names()).cast(spec.schema), batch_id, table=spec).new


def test_bronze_grows_though_it_is_append_only(lake: Lake) -> None:
    """Each of its tables, and silver takes no version of one for new messages that it must read."""
    specs = (EVENT_FEED, ACCOUNT_ACTIVITY, LOADED_FILES)
    for name in ("old", "new", "newer"):
        for spec in specs:
            form = spec if name == "old" else grown(spec)
            assert append_one(lake, form, f"{spec.name}-{name}", batch_id=f"{spec.name}-{name}", relay="sns") == 1
        flatten_sources(lake)
    for spec in specs:
        relays = dict(
            table(lake, "bronze", spec.name).filter(pl.col("message_id").str.starts_with(spec.name)).select("message_id", "relay").rows()
        )
        assert relays == {f"{spec.name}-old": None, f"{spec.name}-new": "sns", f"{spec.name}-newer": "sns"}
        assert operations(lake, "bronze", spec.name).count("ADD COLUMN") == 1
        assert {f"{spec.name}-{name}" for name in ("old", "new", "newer")} <= set(clicks_of(lake))
        # A redelivery is absorbed across the border.
        assert append_one(lake, grown(spec), f"{spec.name}-old", batch_id=f"{spec.name}-again", relay="sns") == 0
    assert balance_hours_of_sources(lake, START - DAY, START + DAY).balances


def clicks_of(lake: Lake) -> list[str]:
    return table(lake, "silver", "clicks")["activity_id"].to_list()


@LOCAL
def test_statistics_of_a_new_column_are_kept_where_the_catalogue_wants_them(lake: Lake) -> None:
    grown = replace(
        EVENT_FEED, schema=pl.Schema({**EVENT_FEED.schema, "sent_by": pl.String()}), stats_columns=(*EVENT_FEED.stats_columns, "sent_by")
    )
    rows = batch({"m7": bundle(click("c7"))}, batch_id="b7").with_columns(sent_by=pl.lit("x"))
    append_batch(lake, rows, "b7", table=grown)
    actions = pl.DataFrame(opened(lake, "bronze", "event_feed").get_add_actions(flatten=True))
    assert set(actions["min.sent_by"]) == {None, "x"}
    assert "min.body" not in actions.columns
    assert operations(lake, "bronze", "event_feed")[2:] == ["SET TBLPROPERTIES", "ADD COLUMN", "WRITE"]


def test_a_grown_table_is_asked_and_sorted(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path / "lake"))
    settings = Settings(lake_uri=lake.uri)
    times = [{"Timestamp": f"2026-02-28T{hour}:00:00Z"} for hour in (10, 11, 12, 13)]
    receive(lake, [bundle(click("old", LinkTheme="dark", **times[0]), click("old-too", **times[2]))])
    flatten_new(lake)
    with later_release(clicks=THEME):
        lake.add_missing_columns([silver_spec("clicks")])
        shows_the_column(lake, settings, {"old": None, "old-too": None})
        receive(lake, [bundle(click("new", LinkTheme="light", **times[1]), click("new-too", **times[3]))], first=1)
        flatten_new(lake)
        expected: dict[str, str | None] = {"old": None, "old-too": None, "new": "light", "new-too": None}
        shows_the_column(lake, settings, expected)
        assert [report.sorted for report in maintain(lake, settings, layers=["silver"]) if report.table == "clicks"] == [1]
        shows_the_column(lake, settings, expected)
        list(rebuild(lake, [START.date()]))
        shows_the_column(lake, settings, expected | {"old": "dark"})


def shows_the_column(lake: Lake, settings: Settings, expected: dict[str, str | None]) -> None:
    query = "select activity_id, link_theme from silver.clicks order by 1"
    with ad_hoc(lake, settings) as asked:
        assert {row["activity_id"]: row["link_theme"] for row in asked.rows(query).read_all().to_pylist()} == expected
    with connect(lake) as own:
        for statement in snapshot_statements(shown_tables(lake, settings)):
            own.execute(statement)
        assert dict(own.execute(query).fetchall()) == expected


@LOCAL
def test_copies_of_what_an_older_release_read_are_copies_and_no_conflicts(lake: Lake) -> None:
    """The feed sends things twice: what was put by for want of a column is what the copy has in its column."""
    receive(lake, [bundle(click("odd", LinkTheme="dark", BotScore="many"), click("other", LinkTheme="dark"))], first=1)
    flatten_new(lake)
    with later_release(clicks=THEME):
        copies = [
            click("old", LinkTheme="dark"),
            click("plain"),
            click("odd", LinkTheme="dark", BotScore="many"),
            click("other", LinkTheme="light"),
        ]
        receive(lake, [bundle(*copies)], first=2, received_at=START + DAY)
        report = flatten_new(lake)
        assert report.tables["clicks"] == TableCount(rows=0, duplicates=3, conflicts=1)
        assert table(lake, "silver", "rejected_items")["item_index"].to_list() == [3]
        # The day of the copies alone is made anew: it is as it was.
        assert not any(each.changed for each in rebuild(lake, [(START + DAY).date()]))
        list(rebuild(lake, [START.date()]))
        assert not any(each.changed for each in rebuild(lake, [START.date(), (START + DAY).date()]))
        assert clicks(lake) == {"odd": "dark", "old": "dark", "other": "dark", "plain": None}
        assert conservation(lake, above=0).holds
