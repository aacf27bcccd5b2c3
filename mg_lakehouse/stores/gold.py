"""Gold tables: what a version of one includes, which keys are out of date, and the commit that replaces them.

A gold commit carries, as Delta app transactions, what it was made of: for every silver table the incarnation
and the version that it includes, and the digest of the definitions. So Delta is the only state, a build that
died anywhere is resumed by the next one, and no event is ever found by its own time. What a model computes is
the dbt project's business; which rows of silver it may look at is :mod:`mg_lakehouse.stores.gold_scope`'s.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import polars as pl
import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Transaction, WriterProperties, write_deltalake
from deltalake.exceptions import DeltaError

from mg_lakehouse.stores.lake import Lake, TableSpec, store_error

__all__ = ["ABSENT", "GoldTable", "Included", "combine", "commit", "digest", "gold_spec", "included_in", "replace_predicate", "same_schema"]

_DEFINITION: Final = "gold:definition"
_TARGET_FILE_BYTES: Final = 32 * 2**20  # a refresh rewrites whole files, so they stay small
_ROW_GROUP_ROWS: Final = 131_072
_RANGES: Final = 16
"""Ranges that a set of keys is cut into, so that the file statistics skip what lies between them."""

_DTYPES: Final[dict[str, pl.DataType]] = {
    "varchar": pl.String(),
    "bigint": pl.Int64(),
    "double": pl.Float64(),
    "boolean": pl.Boolean(),
    "date": pl.Date(),
    "timestamptz": pl.Datetime("us", "UTC"),
    "timestamp with time zone": pl.Datetime("us", "UTC"),
    "varchar[]": pl.List(pl.String()),
    "date[]": pl.List(pl.Date()),
}


class Included(NamedTuple):
    """What of one silver table is included: the incarnation, as a digest of its id, and the version."""

    incarnation: int
    version: int


ABSENT: Final = Included(incarnation=0, version=-1)
"""The silver table did not exist."""

_MIXED: Final = 1
"""Incarnation that stands for several: no table has it, so the next build starts anew."""


@dataclass(frozen=True, slots=True)
class GoldTable:
    """What a version of a gold table was made of; ``definition`` is ``None`` where nobody wrote it down."""

    handle: DeltaTable
    definition: int | None = None
    silver: Mapping[str, Included] = field(default_factory=dict)


def digest(*parts: str | bytes) -> int:
    """60 bits of the SHA-256 of some texts, positive: an app transaction has room for one integer only."""
    sha = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        sha.update(len(data).to_bytes(8, "big") + data)
    return int.from_bytes(sha.digest()[:8], "big") >> 4


def gold_spec(name: str, columns: Sequence[Mapping[str, str]], *, stats_columns: Sequence[str], description: str) -> TableSpec:
    """What a gold table is created with, from the model's contract: ``name``, ``data_type``, ``description`` of each column.

    Raises:
        KeyError: the contract holds a type that gold does not use.
    """
    return TableSpec(
        layer="gold",
        name=name,
        schema=pl.Schema({column["name"]: _DTYPES[column["data_type"].lower()] for column in columns}),
        stats_columns=tuple(stats_columns),
        partition_by=(),
        description=description,
        comments={column["name"]: " ".join(column["description"].split()) for column in columns},
    )


def same_schema(handle: DeltaTable, spec: TableSpec) -> bool:
    """Whether the table has the columns of the contract, by name, type and order."""
    wanted = pl.DataFrame(schema=spec.schema).to_arrow(compat_level=pl.CompatLevel.oldest()).schema
    return _names_and_types(pl.DataFrame(_arrow_schema(handle).empty_table())) == _names_and_types(pl.DataFrame(wanted.empty_table()))


def _arrow_schema(handle: DeltaTable) -> pa.Schema:
    exported: Any = handle.schema().to_arrow()  # an Arrow object of another library, by the C interface
    return pa.schema(exported)


def _names_and_types(frame: pl.DataFrame) -> list[tuple[str, pl.DataType]]:
    return list(frame.schema.items())


def included_in(handle: DeltaTable, silver_ids: Mapping[str, str | None], names: Iterable[str]) -> GoldTable:
    """Read what a gold table was made of.

    ``silver_ids`` holds the id of each silver table now, ``None`` where it does not exist; a table whose recorded
    incarnation is another one gets that incarnation without a version.
    """
    silver: dict[str, Included] = {}
    for name in names:
        incarnation = handle.transaction_version(_incarnation_id(name))
        if incarnation is None:
            continue
        current = silver_ids.get(name)
        known = current is not None and digest(current) == incarnation
        version = handle.transaction_version(_silver_id(current)) if known and current is not None else None
        silver[name] = Included(incarnation, -1 if version is None else version)
    return GoldTable(handle, handle.transaction_version(_DEFINITION), silver)


def combine(inputs: Sequence[Mapping[str, Included]]) -> dict[str, Included]:
    """What a model includes whose inputs include these: of each silver table the least."""
    combined: dict[str, Included] = {}
    for each in inputs:
        for name, included in each.items():
            other = combined.get(name, included)
            same = other.incarnation == included.incarnation
            combined[name] = Included(included.incarnation if same else _MIXED, min(other.version, included.version))
    return combined


def replace_predicate(column: str, keys: Sequence[str]) -> str:
    """SQL of delta-rs for ``column IN keys``, written so that file statistics can skip files.

    The list alone skips none where it is long; a few ranges in front of it do. Cost stays linear in the keys.
    """
    ordered = sorted(keys)
    ranges = " OR ".join(f"({column} >= {_quoted(low)} AND {column} <= {_quoted(high)})" for low, high in _cut(ordered))
    return f"(({ranges}) AND {column} IN ({', '.join(_quoted(key) for key in ordered)}))"


def _cut(ordered: Sequence[str]) -> list[tuple[str, str]]:
    """A few ranges that hold all keys, cut where neighbours have least in common."""
    gaps = sorted(range(1, len(ordered)), key=lambda at: _common_prefix(ordered[at - 1], ordered[at]))[: _RANGES - 1]
    starts = [0, *sorted(gaps)]
    ends = [*starts[1:], len(ordered)]
    return [(ordered[start], ordered[end - 1]) for start, end in zip(starts, ends, strict=True)]


def _common_prefix(left: str, right: str) -> int:
    length = 0
    for a, b in zip(left, right, strict=False):
        if a != b:
            break
        length += 1
    return length


def _quoted(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def commit(
    lake: Lake,
    spec: TableSpec,
    rows: pa.RecordBatchReader,
    *,
    handle: DeltaTable | None,
    predicate: str | None,
    definition: int,
    silver: Mapping[str, Included],
    silver_ids: Mapping[str, str | None],
) -> int:
    """Replace what ``predicate`` selects, or everything where it is ``None``, in one Delta commit; returns the new version.

    The commit goes through the handle that the state was read from, so that another build that came first makes this
    one fail instead of being overwritten.

    Raises:
        PermanentError: access is refused.
        TransientError: the store did not answer, or another build committed first.
    """
    handle = lake.ensure(spec) if handle is None else handle
    markers = [Transaction(_DEFINITION, definition)]
    for name, included in silver.items():
        markers.append(Transaction(_incarnation_id(name), included.incarnation))
        if (table_id := silver_ids.get(name)) is not None and included.version >= 0:
            markers.append(Transaction(_silver_id(table_id), included.version))
    try:
        write_deltalake(
            handle,
            rows,
            mode="overwrite",
            predicate=predicate,
            schema_mode="overwrite" if predicate is None and not same_schema(handle, spec) else None,
            target_file_size=_TARGET_FILE_BYTES,
            writer_properties=WriterProperties(compression="ZSTD", compression_level=3, max_row_group_size=_ROW_GROUP_ROWS),
            commit_properties=CommitProperties(app_transactions=markers),
        )
    except (DeltaError, OSError) as error:
        raise store_error(error, f"gold/{spec.name} in the lake {lake.uri}") from error
    return handle.version()


def _incarnation_id(table: str) -> str:
    return f"gold:incarnation:{table}"


def _silver_id(table_id: str) -> str:
    return f"gold:{table_id}"
