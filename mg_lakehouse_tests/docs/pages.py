"""The pages that are made of the code: `make pages` writes them, and a test holds that they are what it would write."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import NoneType
from typing import Any, Final, get_args, get_origin

import annotated_types
import polars as pl
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from mg_lakehouse.audit.tables import VENDOR_TOTALS
from mg_lakehouse.bronze.tables import BRONZE_SPECS
from mg_lakehouse.events.catalogue import EVENTS, REJECTED_ITEMS, SET_ASIDE, Column, columns_of, silver_tables
from mg_lakehouse.events.schemas import sql_type_of
from mg_lakehouse.gold.engine import build
from mg_lakehouse.gold.names import gold_models
from mg_lakehouse.gold.project import ensure_manifest
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.lake.tables import TableSpec
from mg_lakehouse.settings import Settings
from mg_lakehouse.silver.tables import silver_spec

__all__ = ["DOCS", "SOURCES", "dbt_sources", "metrics_page", "settings_page", "tables_page"]

DOCS: Final = Path(__file__).resolve().parents[2] / "docs"

SOURCES: Final = DOCS.parent / "dbt_project" / "models" / "staging" / "_sources.yml"

_MADE: Final = "<!-- Made of the code by `make pages`. Change the code, not this page. -->\n"
_KEY_OF_RECONCILIATION: Final = ("activity_date", "request_id", "compared_with", "metric")
_TYPE_NAMES: Final[Mapping[str, str]] = {"str": "text", "int": "whole number", "float": "number", "date": "day", "Path": "path"}
_DELTA_TYPES: Final[Mapping[type[pl.DataType], str]] = {
    pl.String: "varchar",
    pl.Int64: "bigint",
    pl.Float64: "double",
    pl.Boolean: "boolean",
    pl.Date: "date",
    pl.Datetime: "timestamptz",
}


def main() -> None:
    """Write the pages."""
    SOURCES.write_text(dbt_sources(), encoding="utf-8")
    for name, page in (("settings", settings_page()), ("tables", tables_page()), ("metrics", metrics_page())):
        (DOCS / f"{name}.md").write_text(page, encoding="utf-8")


def dbt_sources() -> str:
    """The sources of the dbt project: every silver table, with its columns, and when it was last filled."""
    head = (
        "# Made of the catalogue of events by `make pages`. Change the catalogue, not this file.\nversion: 2\n\nsources:\n"
        "  - name: silver\n    schema: silver\n    description: One Delta table for each type of event, flattened from the feed.\n"
        "    config:\n      loaded_at_field: received_at\n      # A feed that is alive says something every day; a table of a rare event need not.\n"
        "      freshness: {warn_after: {count: 1, period: day}}\n    tables:\n"
    )
    return head + "".join(_dbt_source(table) for table in silver_tables())


def _dbt_source(table: str) -> str:
    description = json.dumps(silver_spec(table).description, ensure_ascii=False)
    asset = f"        config:\n          meta:\n            dagster:\n              asset_key: [silver, {table}]\n"
    return f"      - name: {table}\n        description: {description}\n{asset}        columns:\n" + "".join(
        map(_dbt_column, columns_of(table))
    )


def _dbt_column(column: Column) -> str:
    tags = ", config: {tags: [pii]}" if column.pii else ""
    described = f"description: {json.dumps(column.description, ensure_ascii=False)}"
    return f"          - {{name: {column.name}, data_type: {json.dumps(sql_type_of(column))}, {described}{tags}}}\n"


def settings_page() -> str:
    """Every setting: variable, kind of value, default, meaning."""
    rows = [_setting(name, field) for name, field in Settings.model_fields.items()]
    text = (
        "Read from the environment and from a file `.env` in the working folder; the environment wins. None is required: without any, the lake is the folder\n"
        "`.lake` and there is no queue. A value that cannot be used is one sentence that names the variable.\n\n"
        "Credentials, region and endpoint of AWS are the standard variables, profiles and roles of boto3: `AWS_PROFILE`, `AWS_REGION`, `AWS_ENDPOINT_URL`;\n"
        "`AWS_ENDPOINT_URL_S3` and `AWS_ENDPOINT_URL_SQS` where lake and queue have different ones. See [a lake on S3](how-it-works.md#a-lake-on-s3),\n"
        "which also has proxies, certificates of your own, FIPS and dual-stack endpoints.\n"
        "Where none says a region, the queue's address does, in each of its forms: of a VPC endpoint, FIPS, dual-stack, `eu-west-1.queue.amazonaws.com`."
    )
    folders = (
        "## Folders\n\n"
        "No home is needed, and nothing but these is written. A variable of XDG counts where it is an absolute path.\n\n"
        "| what | where | if it cannot be written |\n|---|---|---|\n"
        "| the lake | `MG_LAKE_URI`, by default `.lake` in the working folder | an error |\n"
        "| the catalogue of views | `MG_CATALOG`, by default in the root of a local lake | the old one stays |\n"
        "| what is made of the dbt project; it may be removed at any time | `MG_CACHE_DIR`, else `target` in the project | "
        "`mg-lakehouse` in `XDG_CACHE_HOME` or `~/.cache`, then `mg-lakehouse-cache-<user id>` in `TMPDIR` |\n"
        "| files of [known ids](decisions/S3-how-far-a-copy-is-searched.md) of a lake on S3, eight bytes a row of silver; they may be removed at any time | "
        "`mg-lakehouse` in `XDG_CACHE_HOME` or `~/.cache` | `mg-lakehouse-cache-<user id>` in `TMPDIR` |\n"
        "| the history of the prompt `sql` | `mg-lakehouse` in `XDG_STATE_HOME` or `~/.local/state` | there is none |\n"
        "| temporary files | `TMPDIR`, else `/tmp`, `/var/tmp`, `/usr/tmp`, the working folder | an error |\n"
        "| Dagster's runs and events | `DAGSTER_HOME`; of `dev` `.dagster` in the working folder, of a command `TMPDIR` for its length | an error |\n"
        "| pages and exports | `--output` | an error |\n"
    )
    return "\n".join([_MADE, "# Settings\n", text, "", *_table(("variable", "value", "default", "what it is"), rows), "", folders])


def tables_page() -> str:
    """Every table of the lake, with every column, its type and its meaning."""
    return "\n".join(
        [
            _MADE,
            "# Tables and columns\n",
            "`bigint` is 64-bit, `timestamptz` has microseconds and is in UTC. Columns with personal data are marked **pii**; gold has none but in `suppression_list` and `suppression_evidence`.",
            "What every metric counts is on a [page of its own](metrics.md).\n",
            "## Bronze\n",
            "As received: nothing is parsed here, and nothing is ever changed.\n",
            *(line for spec in BRONZE_SPECS for line in _spec_section(spec)),
            "## Silver\n",
            "A table for each type of event. Elements are the XML children that fill a column, the first one present; a column without any is derived.\n",
            *(line for table in (*silver_tables(), SET_ASIDE) for line in _silver_section(table)),
            "## Gold\n",
            "What people ask for. A name means the same in each table that has it.\n",
            *_gold_sections(),
        ]
    )


def metrics_page() -> str:
    """Every metric with its definition and formula: the table ``gold/metric_dictionary``, which is built for it."""
    with tempfile.TemporaryDirectory(prefix="mg-pages-") as folder:
        lake = Lake(f"{folder}/lake")
        settings = Settings(lake_uri=lake.root, pii_key=SecretStr("of no use here"))
        build(lake, settings, models=["metric_dictionary"]).raise_if_failed()
        found = pl.read_delta(lake.uri_of("gold", "metric_dictionary"))
    rows = [
        (f"`{row['metric']}`", row["kind"], row["definition"], f"`{row['formula']}`" if row["formula"] else "", row["exclusions"] or "")
        for row in found.iter_rows(named=True)
    ]
    text = (
        "What each number counts, with the SQL that counts it: an aggregate over rows of `gold.fct_messages`, or a share of two other metrics. The same is\n"
        "the table `gold.metric_dictionary`, which also says what tables have a metric. Why they are counted so is in the [decision log](decisions/index.md#gold)."
    )
    return "\n".join([_MADE, "# Metrics\n", text, "", *_table(("metric", "kind", "definition", "formula", "left out"), rows), ""])


def _setting(name: str, field: FieldInfo) -> tuple[str, str, str, str]:
    return (f"`MG_{name.upper()}`", _kind(field), _default(field), field.description or "")


def _kind(field: FieldInfo) -> str:
    kinds = [kind for kind in (get_args(field.annotation) or (field.annotation,)) if kind is not NoneType]
    if get_origin(field.annotation) is tuple:
        return "names, with commas"
    if SecretStr in kinds:
        return "secret"
    kind = _TYPE_NAMES[kinds[0].__name__]
    limits = {type(limit): limit for limit in field.metadata}
    low, above, high = (limits.get(each) for each in (annotated_types.Ge, annotated_types.Gt, annotated_types.Le))
    if low is not None and high is not None:
        return f"{kind}, {low.ge:,} to {high.le:,}"
    if low is not None:
        return f"{kind}, {low.ge:,} or more"
    return kind if above is None else f"{kind} above {above.gt:,}"


def _default(field: FieldInfo) -> str:
    value = field.default
    if value is None:
        return ""
    if isinstance(value, tuple):
        return f"all {len(value)}"
    if isinstance(value, int) and value >= 2**20 and value % 2**20 == 0:
        return f"`{value}` ({value // 2**20} MiB)"
    return f"`{value}`"


def _spec_section(spec: TableSpec, key: Sequence[str] = ()) -> Iterator[str]:
    rows = [(f"`{name}`", _delta_type(dtype), spec.comments[name]) for name, dtype in spec.schema.items()]
    yield from _section(spec.layer, spec.name, spec.description, key, _table(("column", "type", "what it is"), rows))


def _silver_section(table: str) -> Iterator[str]:
    schema = silver_spec(table).schema
    rows = [(f"`{column.name}`", _delta_type(schema[column.name]), _elements(column), _meaning(column)) for column in columns_of(table)]
    body = _table(("column", "type", "elements", "what it is"), rows)
    named = [] if table in (REJECTED_ITEMS, SET_ASIDE) else [event for event in EVENTS if event.table == table and event.elements]
    of = "".join(f" Element: {', '.join(f'`{element}`' for element in event.elements)}." for event in named)
    yield from _section("silver", table, silver_spec(table).description + of, (), body)


def _gold_sections() -> Iterator[str]:
    manifest: dict[str, Any] = json.loads(ensure_manifest(Settings()).read_text())
    nodes = manifest["nodes"].values()
    models = {node["name"]: node for node in nodes if node["resource_type"] == "model"}
    keys = {
        node["attached_node"].rsplit(".", 1)[-1]: node["test_metadata"]["kwargs"]["columns"]
        for node in nodes
        if node["resource_type"] == "test" and (node.get("test_metadata") or {}).get("name") == "primary_key"
    }
    for name in gold_models(Settings()):
        if name == VENDOR_TOTALS.name:
            yield from _spec_section(VENDOR_TOTALS, _KEY_OF_RECONCILIATION)
            continue
        rows = [(f"`{each['name']}`", each["data_type"], each["description"]) for each in models[name]["columns"].values()]
        yield from _section("gold", name, models[name]["description"], keys[name], _table(("column", "type", "what it is"), rows))


def _section(layer: str, name: str, description: str, key: Sequence[str], body: Sequence[str]) -> Iterator[str]:
    yield f"### {layer}.{name}\n"
    yield _line(description)
    if key:
        yield f"\nKey: {', '.join(f'`{column}`' for column in key)}."
    yield ""
    yield from body
    yield ""


def _elements(column: Column) -> str:
    return ", ".join(f"`{element}`" for element in column.elements)


def _meaning(column: Column) -> str:
    return f"{column.description} **pii**" if column.pii else column.description


def _delta_type(dtype: pl.DataType) -> str:
    if isinstance(dtype, pl.List):
        return f"{_delta_type(dtype.inner)}[]"  # type: ignore[arg-type]
    if isinstance(dtype, pl.Struct):
        return f"struct({', '.join(f'{field.name} {_delta_type(field.dtype)}' for field in dtype.fields)})"  # type: ignore[arg-type]
    return _DELTA_TYPES[dtype.base_type()]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [_row(head), f"|{'---|' * len(head)}", *(_row(row) for row in rows)]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(_line(cell).replace('|', chr(92) + '|') for cell in cells)} |"


def _line(text: str) -> str:
    return " ".join(text.split())


if __name__ == "__main__":
    main()
