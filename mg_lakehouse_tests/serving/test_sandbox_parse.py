"""Which statements are questions: what people type at a prompt is answered, and everything else is refused in a sentence."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from mg_lakehouse.lake import duck
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.lake.sql import text
from mg_lakehouse.serving.sandbox import allowed as sql_allowed
from mg_lakehouse.serving.sandbox.sandbox import AdHoc, QueryError, ad_hoc
from mg_lakehouse.settings import Settings
from mg_lakehouse_tests.lake.feeds import fill

NOT_ALLOWED = Path(__file__).parents[1] / "fixtures" / "sql_not_allowed.txt"


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AdHoc]:
    lake = Lake(str(tmp_path_factory.mktemp("lake")))
    fill(lake, 3)
    with ad_hoc(lake, Settings(lake_uri=lake.root)) as opened:
        yield opened


def answer(asked: AdHoc, sql: str) -> list[tuple[object, ...]]:
    return [tuple(row.values()) for row in asked.rows(sql).read_all().to_pylist()]


@pytest.mark.parametrize(
    ("sql", "rows"),
    [
        ("from silver.opens select count(*)", [(3,)]),
        ("FROM catalog.silver.opens SELECT count(*) -- all of them", [(3,)]),
        ("select count(*) from Silver.Opens", [(3,)]),
        ("select count(*) from silver_opens", [(3,)]),
        ("select count(*) from silver_opens at (version => 1)", [(3,)]),
        ("select count(*) from silver_opens.main.silver_opens", [(3,)]),
        ("with few as (select 1 as a), more as (from few union all from few) select sum(a) from more", [(2,)]),
        ("with recursive r as (select 1 as x union all select x + 1 from r where x < 5) select max(x) from r", [(5,)]),
        ("table silver.render_errors", []),
        ("values (1, 'a'), (2, 'b')", [(1, "a"), (2, "b")]),
        ("select 1; select 2;", [(2,)]),
        ("select ';' as a; -- ; \n select $$;$$", [(";",)]),
        ("/* a; */ select 1", [(1,)]),
        ("select [x * 2 for x in [1, 2, 3] if x > 1]", [([4, 6],)]),
        ("select list_transform([1, 2], lambda x: x + 1)", [([2, 3],)]),
        ("select '{\"a\": [1]}'::json -> 'a' ->> 0", [("1",)]),
        ("select strftime(date_trunc('month', date '2024-05-06'), '%d.%m.%Y')", [("01.05.2024",)]),
        ("select row_number() over (order by x desc) from range(2) t(x)", [(1,), (2,)]),
        ("select current_setting('TimeZone')", [("UTC",)]),
        ("select safe_rate(1, 0)", [(None,)]),
        ("set variable least = (select 2); select getvariable('least')", [(2,)]),
        ("set variable three to 3; select getvariable('three')", [(3,)]),
        ("create temp table kept as select 1 as a; from kept", [(1,)]),
        ("create or replace temporary table kept as from range(2); select count(*) from kept", [(2,)]),
        ("create temp table if not exists kept as select 7; select count(*) from temp.kept", [(2,)]),
        ("create temp view seen(n) as select count(*) from silver.opens; from seen", [(3,)]),
        ("create temp macro twice(x) as x * 2; select twice(4)", [(8,)]),
        ("create or replace temp macro twice(x, times := 2) as x * times -- told\n; select twice(4), twice(4, times := 3)", [(8, 12)]),
        ("create temp macro upto(n) as table select * from range(n); select count(*) from upto(4)", [(4,)]),
        ("create temp macro nothing() as 1; select nothing()", [(1,)]),
        ("pivot silver.opens on source using count(*) group by request_id", [("t1", 3)]),
        (
            "select event_feed_t1 from (with o as (select source, request_id from silver.opens) pivot o on source, request_id using count(*))",
            [(3,)],
        ),
        ("select event_feed from (pivot silver.opens on source using count(*) group by request_id)", [(3,)]),
        ("pivot silver.opens on source in ('event_feed', 'x') using count(*) group by request_id", [("t1", 3, 0)]),
        ("create temp table pivoted as pivot silver.opens on source using count(*); select count(*) from pivoted", [(3,)]),
        ("unpivot (select 1 as a, 2 as b) on a, b into name n value v", [("a", 1), ("b", 2)]),
        ("select * from (select 1 as a, 2 as b) unpivot (v for n in (a, b))", [("a", 1), ("b", 2)]),
        ("select count(*) > 5 from (describe silver.opens)", [(True,)]),
        ("select count(*) from information_schema.tables where table_name = 'opens' and table_catalog = 'catalog'", [(1,)]),
    ],
)
def test_what_people_ask_is_answered(asked: AdHoc, sql: str, rows: list[tuple[object, ...]]) -> None:
    assert answer(asked, sql) == rows


@pytest.mark.parametrize(
    "sql",
    [
        "describe silver.opens",
        "describe select 1",
        "describe",
        "create or replace temp table shown as select 1; show tables",
        "show all tables",
        "show databases",
        "set variable shown = 1; show variables",
        "show silver.opens",
        "summarize silver.opens",
        "summarize select 1",
        "explain select 1",
        "explain analyze select 1",
        "explain (format json) from silver.opens",
        "explain /* x */ analyze (select 1)",
        "explain pivot silver.opens on source in ('event_feed') using count(*)",
        "select columns('activity.*') from silver.opens",
        "from duckdb_columns()",
        "from silver.opens using sample 1",
    ],
)
def test_what_people_look_at_is_shown(asked: AdHoc, sql: str) -> None:
    assert answer(asked, sql)


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("select write_blob('/x', 'x'::blob)", "The function write_blob is refused: it is not on the list of those that only compute."),
        ("select summ(1)", "The function summ is refused: it is not on the list of those that only compute; did you mean sum?"),
        ("from delta_scan('/x')", "The table function delta_scan is refused"),
        ("from histogram('silver.opens', source)", "The table function histogram is refused"),
        ("select current_setting('s3_secret_access_key')", "That setting is refused: current_setting can be asked for calendar"),
        ("select current_setting('time' || 'zone')", "That setting is refused"),
        (
            "from '/etc/passwd'",
            "The table /etc/passwd does not exist. Only the lake's tables, and temporary ones made from them, can be read here",
        ),
        ("from jobs.csv", "The table jobs.csv does not exist."),
        ("from silver.openz", "The table silver.openz does not exist; did you mean silver.opens?"),
        ("from pg_catalog.pg_settings", "The table pg_catalog.pg_settings does not exist."),
        ("from settings", "The table settings does not exist."),  # a name of the process itself
        ("explain copy (select 1) to 'x'", "COPY is refused: only queries run here."),
        ("/* x */ explain analyze copy (select 1) to 'x'", "COPY is refused: only queries run here."),
        ("explain explain select 1", "EXPLAIN is refused"),
        ("explain", "The statement ends where a query should follow."),
        ("create table t as select 1", "CREATE of something that is not temporary is refused"),
        ("create or replace view v as select 1", "CREATE of something that is not temporary is refused"),
        ("create temp sequence s", "CREATE TEMP SEQUENCE is refused"),
        ("create temp table t (a int)", "A temporary table is made by `create temp table NAME as ...`."),
        ("create temp table silver.t as select 1", "A temporary table is made by `create temp table NAME as ...`."),
        ("create temp macro sum(x) as 1", "A macro named sum is refused: DuckDB has a function of that name; choose another."),
        ("create temp macro write_log(x) as 1", "A macro named write_log is refused: DuckDB has a function of that name; choose another."),
        ("create temp macro itself(x) as itself(x)", "The function itself is refused"),
        ("set threads = 1", "SET of a setting is refused"),
        ("use gold", "USE is refused"),
        ("begin", "BEGIN is refused"),
        ("pragma show_tables", "PRAGMA is refused"),
        ("import database '/etc'", "IMPORT is refused"),
        ("pivot silver.opens on source in (select 'a') using count(*)", "A pivot on the values of a query, or one to explain, is refused"),
        ("explain pivot silver.opens on source using count(*)", "A pivot on the values of a query, or one to explain, is refused"),
        ("select ?", "An expression of the kind PARAMETER is refused"),
        ("select 1 \0; select 2", "The statement contains a NUL character: remove it."),
        ("select '\ud800'", "The statement cannot be encoded as UTF-8"),
        ("selec 1", "Parser Error: syntax error at or near"),
        ("select 1 +", "Parser Error: syntax error at end of input"),
        ("create temp table t as", "The statement ends where a query should follow."),
        ("set variable x = select 1", "Parser Error"),
        ("select error('no')", "Invalid Input Error: no"),
        ("set variable x = 1", "The statement has no rows."),
        ("-- nothing", "The statement has no rows."),
        ("", "The statement has no rows."),
        ("select " + "(" * 20_000 + "1", "Parser Error"),
        ("select " + "+".join(["1"] * 50_000), "Parser Error: Max expression depth limit of 1000 exceeded"),
        ("select '" + "x" * 5_000_000 + "'", "The statement has 5,000,009 bytes, more than 4,194,304"),
    ],
)
def test_everything_else_is_refused_in_a_sentence(asked: AdHoc, sql: str, said: str) -> None:
    with pytest.raises(QueryError) as refused:
        asked.rows(sql).read_all()
    assert str(refused.value).startswith(said)


def test_a_macro_that_calls_itself_in_the_end_is_an_error_and_no_crash(asked: AdHoc) -> None:
    loop = "create temp macro one() as 1; create temp macro two() as one(); create or replace temp macro one() as two(); select one()"
    with pytest.raises(QueryError, match="Max expression depth limit"):
        asked.rows(loop)
    assert answer(asked, "select 1") == [(1,)]


def test_after_a_statement_that_fails_half_way_the_next_one_is_answered(asked: AdHoc) -> None:
    with pytest.raises(QueryError):
        asked.rows("create temp table failed as from (pivot silver.opens on source using sum(error('no')))")
    assert answer(asked, "select 1") == [(1,)]


def test_an_expression_as_deep_as_duckdb_takes_is_answered(asked: AdHoc) -> None:
    assert answer(asked, "select 1" + " is null" * 900) == [(False,)]  # of 900 additions DuckDB works half a minute
    assert answer(asked, f"select 5 in ({', '.join(map(str, range(20_000)))})") == [(True,)]


def functions_of_duckdb() -> dict[str, set[str]]:
    """Names by kind, ``table`` for what can stand in a ``from`` and ``scalar`` for the rest."""
    with duckdb.connect(config={**duck.connection_options()}) as connection:
        for name in ("httpfs", "delta"):
            connection.execute(f"load {text(str(duck.extension_file(name)))}")
        rows = connection.execute(
            "select if(function_type in ('table', 'table_macro'), 'table', 'scalar'), lower(function_name) from duckdb_functions() "
            "where function_type <> 'pragma'"
        ).fetchall()
    return {kind: {name for each, name in rows if each == kind} for kind in ("scalar", "table")}


def test_whoever_reviews_sees_which_functions_of_this_duckdb_are_not_allowed() -> None:
    """A function that a new DuckDB brings is refused and stands in this list, until somebody moves it to the list of what is allowed."""
    there = functions_of_duckdb()
    left_out = [f"{name}\n" for name in sorted(there["scalar"] - sql_allowed.FUNCTIONS)]
    left_out += [f"{name} (table function)\n" for name in sorted(there["table"] - sql_allowed.TABLE_FUNCTIONS)]
    assert "".join(left_out) == NOT_ALLOWED.read_text()


def test_what_is_allowed_is_there() -> None:
    there = functions_of_duckdb()
    assert sql_allowed.FUNCTIONS - there["scalar"] == {"unnest"}
    assert sql_allowed.TABLE_FUNCTIONS - there["table"] == set()
