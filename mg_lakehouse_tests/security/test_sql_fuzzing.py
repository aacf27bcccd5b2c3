"""Statements made by a grammar, allowed and hostile parts mixed, and torn: the first wall alone answers each with rows or a sentence."""

from __future__ import annotations

import select
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mg_lakehouse.errors import QueryError
from mg_lakehouse.serving.sandbox.allowed import FUNCTIONS, TABLE_FUNCTIONS
from mg_lakehouse.serving.sandbox.answer import Asking
from mg_lakehouse_tests.security.hostile_sql import CANARY, Scene, scene, unfenced

WORDS = sorted(
    name for name in FUNCTIONS if name.isidentifier() and name not in ("repeat", "range", "generate_series", "list_resize", "array_resize")
)
NAMES = ["source", "request_id", "event_at", '"source"', "count(*)", "a"]
SPACES = [" ", "\n", "\t", " /* x */ ", " -- x\n", " /* ; */ ", "  "]


@pytest.fixture(scope="module")
def wall(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Scene, Asking]]:
    folder = tmp_path_factory.mktemp("fuzzed")
    with scene(folder) as made, unfenced(made) as asking:
        yield made, asking
        made.require_untouched()


def grammar(texts: tuple[str, ...]) -> st.SearchStrategy[str]:
    """Statements. What is named may be a function that only computes, one that does not, a table, a path or an address."""
    literals = st.sampled_from(
        ["1", "0", "-1.5", "'x'", "null", "true", "date '2024-01-01'", "[1, 2]", "{'a': 1}", "$$;$$", "'it''s'", "x'00'", "e'\\n'"]
    ) | st.sampled_from(texts).map(lambda text: "'" + text.replace("'", "''") + "'")
    functions = st.sampled_from(WORDS) | st.sampled_from(
        [
            "write_blob",
            "write_log",
            "json_serialize_plan",
            "current_setting",
            "getvariable",
            "nextval",
            "m",
            "safe_rate",
            "system.main.write_blob",
        ]
    )
    sources = st.sampled_from(
        ["silver.opens", "silver_opens", "silver_opens at (version => 1)", "t", "v", "c", "range(3)", "duckdb_columns()", "gold.nothing", "pg_catalog.pg_settings"]
    ) | st.sampled_from(texts).flatmap(lambda text: st.sampled_from([f"'{text}'".replace("select * from read_text('", "x").replace("')", ""), f'"{text}"']))  # fmt: skip
    tables = st.sampled_from(
        [*sorted(TABLE_FUNCTIONS - {"range", "generate_series", "repeat", "repeat_row"}), "read_text", "read_csv", "read_blob", "glob", "delta_scan", "delta_list_files", "query", "query_table", "enable_profiling", "enable_logging", "duckdb_settings", "duckdb_secrets", "histogram_values", "sniff_csv", "m"]
    )  # fmt: skip

    def deeper(expressions: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        called = st.builds(lambda name, given: f"{name}({', '.join(given)})", functions, st.lists(expressions, max_size=3))
        return st.one_of(
            called,
            st.builds("({} {} {})".format, expressions, st.sampled_from(["+", "||", "=", "and", "->>", "like"]), expressions),
            st.builds(
                "cast({} as {})".format, expressions, st.sampled_from(["int", "varchar", "json", "struct(a int)", "blob", "nothing"])
            ),
            st.builds("case when {} then {} end".format, expressions, expressions),
            st.builds("(select {} from {})".format, expressions, sources),
            st.builds("{} over (partition by {})".format, called, expressions),
            st.builds("list_transform([1], lambda x: {})".format, expressions),
            st.builds("try({})".format, expressions),
        )

    expressions = st.recursive(literals | st.sampled_from(NAMES), deeper, max_leaves=6)
    rows = st.one_of(
        sources,
        st.builds(lambda name, given: f"{name}({', '.join(given)})", tables, st.lists(expressions, max_size=2)),
        st.builds("(select {} from {})".format, expressions, sources),
        st.builds("(pivot {} on {} using count(*))".format, sources, expressions),
    )
    queries = st.one_of(
        st.builds("select {} from {}".format, expressions, rows),
        st.builds("select {}".format, expressions),
        st.builds("from {} limit {}".format, rows, expressions),
        st.builds("with c as (select {} as a) select {} from c, {}".format, expressions, expressions, rows),
        st.builds("pivot {} on {} using max({}) group by request_id".format, rows, expressions, expressions),
        st.builds("summarize select {} from {}".format, expressions, rows),
        st.builds("describe {}".format, sources),
        st.builds("select 1 union all select {} order by {}".format, expressions, expressions),
    )
    return st.one_of(
        queries,
        st.builds("explain {}".format, queries),
        st.builds("explain analyze {}".format, queries),
        st.builds("create or replace temp table t as {}".format, queries),
        st.builds("create or replace temp view v as {}".format, queries),
        st.builds("create or replace temp macro m(x, y := {}) as {}".format, expressions, expressions),
        st.builds("create or replace temp macro m(x) as table {}".format, queries),
        st.builds("set variable k = {}".format, expressions),
        st.builds("copy ({}) to '{}'".format, queries, st.sampled_from(texts[:4])),
        st.builds("explain analyze copy ({}) to '{}'".format, queries, st.sampled_from(texts[:4])),
        st.builds("attach '{}' as other".format, st.sampled_from(texts)),
        st.builds("set {} = {}".format, st.sampled_from(["threads", "home_directory", "profiling_output"]), expressions),
        st.builds("pragma {}".format, functions),
    )


def torn(statement: str, spaces: list[str], cuts: list[tuple[int, int]]) -> str:
    """A statement with other white space, and with some words left out, doubled or put elsewhere."""
    words = statement.split(" ")
    for place, what in cuts:
        at = place % len(words)
        words[at : at + 1] = [[], [words[at]] * 2, [words[at].upper()], [";", words[at]], ["(", words[at]], [words[at], ")"], ['"']][what]
        words = words or [""]
    return "".join(word + spaces[number % len(spaces)] for number, word in enumerate(words))


def statements(texts: tuple[str, ...]) -> st.SearchStrategy[str]:
    whole: st.SearchStrategy[list[tuple[int, int]]] = st.just([])
    cuts = st.one_of(whole, whole, whole, whole, st.lists(st.tuples(st.integers(0, 60), st.integers(0, 6)), min_size=1, max_size=3))
    return st.builds(torn, grammar(texts), st.lists(st.sampled_from(SPACES), min_size=1, max_size=4), cuts)


def check(wall: tuple[Scene, Asking]) -> Callable[[str], None]:
    made, asking = wall

    def answered(sql: str) -> None:
        try:
            said = str(asking.shown(sql, max_width=10_000, max_rows=20))
        except QueryError as error:
            said = str(error)
        assert CANARY not in said
        assert said.strip()
        assert select.select([made.listener], [], [], 0)[0] == []

    return answered


def fuzz(wall: tuple[Scene, Asking], examples: int) -> None:
    answered = check(wall)

    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))
    @given(statements(wall[0].texts))
    def every_statement_is_answered(sql: str) -> None:
        answered(sql)

    every_statement_is_answered()
    wall[0].require_untouched()


def test_the_grammar_finds_nothing_in_a_short_run(wall: tuple[Scene, Asking]) -> None:
    fuzz(wall, 300)


@pytest.mark.faults
@pytest.mark.timeout(3_600)
def test_the_grammar_finds_nothing_in_a_long_run(wall: tuple[Scene, Asking]) -> None:
    fuzz(wall, 10_000)
