"""Statements that try to read, write and call what a query must not, and a scene that tells whether one did.

In the scene everything that must not be read holds one word, the canary, which no statement holds itself; what must not be written is known by its
digest; and what must not be called is a socket that listens.
"""

from __future__ import annotations

import hashlib
import re
import select
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import duckdb
import polars as pl
from deltalake import write_deltalake

from mg_lakehouse.lake import duck, sql
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.serving.sandbox.answer import Asking, prepared
from mg_lakehouse_tests.lake.feeds import fill

__all__ = ["CANARY", "Scene", "calls", "scene", "unfenced"]

CANARY: Final = "canary-5f1c09"


@dataclass(frozen=True, slots=True)
class Scene:
    """A lake, a folder outside of it, and a port that nobody has any business with."""

    lake: Lake
    outside: Path
    port: int
    listener: socket.socket
    before: dict[str, str]

    @property
    def texts(self) -> tuple[str, ...]:
        """What a function is called with: places outside, and places of the lake that are for commits."""
        return (
            f"{self.outside}/x.csv",
            f"{self.outside}/table",
            f"{self.outside}/new.json",
            f"{self.lake.root}/silver/opens/_delta_log/00000000000000000007.json",
            f"{self.lake.root}/.pii_key",
            f"http://127.0.0.1:{self.port}/x.csv",
            f"select * from read_text('{self.outside}/x.csv')",
            "s3_secret_access_key",
        )

    def require_untouched(self) -> None:
        """Nothing was written, and nobody called."""
        assert self.digests() == self.before
        assert select.select([self.listener], [], [], 0)[0] == [], "a connection came"

    def digests(self) -> dict[str, str]:
        """Of every file outside and of the lake."""
        files = [file for root in (Path(self.lake.root), self.outside) for file in sorted(root.rglob("*")) if file.is_file()]
        return {str(file): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


@contextmanager
def scene(folder: Path) -> Iterator[Scene]:
    """A lake of three opens, and the outside."""
    lake = Lake(str(folder / "lake"))
    fill(lake, 3)
    Path(lake.root, ".pii_key").write_text(CANARY)
    outside = folder / "outside"
    outside.mkdir()
    rows = pl.DataFrame({"a": [CANARY]})
    rows.write_csv(outside / "x.csv")
    rows.write_json(outside / "x.json")
    rows.write_parquet(outside / "x.parquet")
    write_deltalake(str(outside / "table"), rows.to_arrow())
    with duckdb.connect(str(outside / "x.duckdb")) as connection:
        connection.execute(f"create table t as select '{CANARY}' as a")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        made = Scene(lake, outside, listener.getsockname()[1], listener, {})
        made.before.update(made.digests())
        yield made


@contextmanager
def unfenced(tried: Scene) -> Iterator[Asking]:
    """The first wall alone: statements are read, and then run by a DuckDB that may open and change anything."""
    with duckdb.connect(config={**duck.connection_options()}) as connection:
        for name in ("httpfs", "delta"):
            connection.execute(f"load {sql.text(str(duck.extension_file(name)))}")
        yield prepared(connection, tried.lake, [])


def calls(texts: Sequence[str]) -> list[str]:
    """A statement for every function of DuckDB and its extensions, each overload, with the texts wherever one fits."""
    statements: dict[str, None] = {}
    seen: set[tuple[str, str]] = set()
    for number, (kind, name, parameters, types) in enumerate(_functions()):
        positional = [
            kind_ for parameter, kind_ in zip(parameters, types, strict=True) if kind != "table" or re.fullmatch(r"col\d+", parameter)
        ]
        # Every text for each name once, and for its other overloads one of them in turn.
        given = texts if (kind, name) not in seen else [texts[number % len(texts)]]
        seen.add((kind, name))
        for text in given:
            statements |= dict.fromkeys(_called(kind, name, [_argument(each, text) for each in positional]))
        for parameter, kind_ in zip(parameters, types, strict=True):
            if kind == "table" and kind_ in ("VARCHAR", "ANY") and not re.fullmatch(r"col\d+", parameter):
                values = [*(_argument(each, texts[0]) for each in positional), f"{parameter} = {sql.text(texts[3])}"]
                statements |= dict.fromkeys(_called(kind, name, values))
    return [*statements, *_known(texts)]


def _functions() -> list[tuple[str, str, list[str], list[str | None]]]:
    with duckdb.connect(config={**duck.connection_options()}) as connection:
        for name in ("httpfs", "delta"):
            connection.execute(f"load {sql.text(str(duck.extension_file(name)))}")
        return connection.execute(
            "select function_type, function_name, parameters, parameter_types from duckdb_functions() where database_name = 'system' order by all"
        ).fetchall()


def _called(kind: str, name: str, arguments: Sequence[str]) -> Iterator[str]:
    listed = ", ".join(arguments)
    if not re.match(r"\w", name) or name.startswith("!"):  # an operator
        yield f"select {listed if len(arguments) < 2 else f' {name} '.join(arguments[:2])}"
    elif kind == "pragma":
        yield f"pragma {name}({listed})" if arguments else f"pragma {name}"
    elif kind in ("table", "table_macro"):
        yield f"select * from {name}({listed})"
    else:
        yield f"select {sql.identifier(name)}({listed})"


def _argument(kind: str | None, text: str) -> str:
    """SQL of an argument of a type: of the text where it can be."""
    kind = kind or "ANY"
    quoted = sql.text(text)
    if kind.endswith("[][]"):
        return f"[[{quoted}]]"
    if kind.endswith("]"):
        return f"[{quoted}]" if kind[:-2] in ("ANY", "T", "K", "V", "VARCHAR") else "[1.5, 2, 3]"
    plain = {"VARCHAR": quoted, "ANY": quoted, "T": quoted, "K": quoted, "V": quoted, "JSON": "'{\"a\": 1}'::json", "BLOB": "'x'::blob"}
    plain |= {"BOOLEAN": "true", "INTERVAL": "interval 1 day", "LAMBDA": "lambda x: x", "TABLE": "(select 1)"}
    if kind in plain:
        return plain[kind]
    if "DATE" in kind or "TIMESTAMP" in kind:
        return f"'2024-01-01'::{kind}"
    if kind.startswith(("STRUCT", "MAP")):
        return f"{{'a': {quoted}}}" if kind.startswith("STRUCT") else f"map {{'a': {quoted}}}"
    return "1" if re.search(r"INT|DOUBLE|FLOAT|DECIMAL|POINTER|NUM", kind) else "null"


def _known(texts: Sequence[str]) -> list[str]:
    """What was found to do harm, each with the arguments that it takes, and what names a file without a function."""
    csv, _, new, commit, *_ = map(sql.text, texts)
    quoted = sql.identifier(texts[0])
    return [
        f"select write_blob({new}, 'x'::blob)",
        f"select write_blob({commit}, 'x'::blob)",
        f"select system.main.write_blob({new}, 'x'::blob)",
        f"select * from enable_profiling(format = 'json', save_location = {commit}); select 1",
        f"select * from enable_profiling(format = 'json', save_location = {new}); select 1",
        f"select * from enable_logging(storage = 'file', storage_path = {new}); select write_log('x')",
        f"select * from enable_logging(storage = 'file', storage_config = {{'path': {new}}}); select write_log('x')",
        f"call enable_logging(storage = 'file', storage_config = {{'path': {commit}}})",
        f"select * from {csv}",
        f"select * from {quoted}",
        f"from {quoted}",
        f"describe {quoted}",
        f"summarize {quoted}",
        f"pivot {quoted} on a using count(*)",
        f"unpivot {quoted} on a",
        f"with {quoted} as (select 1) select 1; from {quoted}",
        f"select * from (with {quoted} as (select 1) select 1), {quoted}",
        f"from query_table({csv})",
        f"from query_table([{csv}])",
        f"from query('from ' || {sql.text(csv)})",
        f"from histogram_values({csv}, a)",
        f"from histogram({csv}, a)",
        f"select list_aggregate([{csv}], 'write_blob')",
        f"create temp macro m(x) as write_blob(x, 'x'::blob); select m({new})",
        f"create temp macro m2(x, y := write_blob({new}, 'x'::blob)) as x; select m2(1)",
        f"create temp macro m3(x) as table select * from read_text(x); from m3({csv})",
        f"create temp macro write_log(x) as x; select system.main.write_log({new})",
        f"create temp view v as from read_text({csv}); from v",
        f"create temp table t as from read_text({csv}); from t",
        f"create temp table u (a varchar default write_blob({new}, 'x'::blob)); insert into u default values",
        f"set variable x = (select content from read_text({csv})); select getvariable('x')",
        f"explain analyze from read_text({csv})",
        f"/* x */ explain analyze copy (select 1) to {new}",
        f"-- x\nexplain /* (format json) */ analyze copy (select 1) to {new}",
        f"explain (format json) copy (select 1) to {new}",
        f"copy (select 1) to {new}",
        f"copy (select '{{}}') to {commit}",
        f"export database {sql.text(texts[2])}",
        f"import database {sql.text(texts[1])}",
        f"pragma import_database({sql.text(texts[1])})",
        f"attach {sql.text(str(Path(texts[0]).with_name('x.duckdb')))} as other; from other.t",
        f"attach {sql.text(texts[1])} as other (type delta); from other",
        f"from read_duckdb({sql.text(str(Path(texts[0]).with_name('x.duckdb')))}, table_name = 't')",
        f"from delta_scan({sql.text(texts[1])})",
        f"from delta_list_files({sql.text(texts[1])})",
        f"from delta_scan({sql.text(texts[5])})",
        f"from delta_list_files({sql.text(texts[5])})",
        f"install x from {sql.text(texts[5])}",
        f"load {csv}",
        "select current_setting('s3_secret_access_key')",
        "select current_setting(lower('S3_SECRET_ACCESS_KEY'))",
        "from duckdb_settings()",
        "from duckdb_settings",
        "from pg_catalog.pg_settings",
        "from duckdb_secrets(redact = false)",
        "from read_text('/proc/self/environ')",
        "from read_text('/proc/1/environ')",
        "from read_text('/proc/self/root/etc/passwd')",
        f"from glob({sql.text(str(Path(texts[0]).parent))} || '/*')",
        "set lock_configuration = false",
        "set enable_external_access = true",
        "reset enable_external_access",
        "pragma enable_external_access = true",
        "set allowed_directories = ['/']",
        f"set log_query_path = {new}; select 1",
        f"set profiling_output = {new}; pragma enable_profiling = 'json'; select 1",
        f"set home_directory = {new}",
        f"prepare p as from read_text({csv}); execute p",
        f"create secret s (type s3, key_id 'a', secret 'b', endpoint {sql.text(texts[5].removeprefix('http://'))}, use_ssl false); from read_text('s3://a/b')",
    ]
