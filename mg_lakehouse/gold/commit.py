"""Gold tables: what a version of one includes, which keys are out of date, and the commit that replaces them.

A gold commit carries what it was made of: for every silver table the incarnation and the version that it
includes, and the digest of the definitions. So Delta is the only state, a build that died anywhere is resumed by
the next one, and no event is ever found by its own time. It carries it twice: in its metadata, where one read finds
all of it, and as app transactions, which outlive the log entry. What a model computes is
the dbt project's business; which rows of silver it may look at is :mod:`mg_lakehouse.gold.planner`'s.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise, takewhile
from typing import Any, Final, NamedTuple

import polars as pl
import pyarrow as pa
from deltalake import DeltaTable, Transaction

from mg_lakehouse.events.schemas import dtype_of_sql
from mg_lakehouse.lake.commit import AlreadyCommitted, Append, OvertakenError, Replace, commit_once
from mg_lakehouse.lake.commit_log import app_version, commits_of
from mg_lakehouse.lake.errors import store_errors
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.lake.tables import CHANGE_FEED_PROPERTY, TableSpec, columns_of_table

__all__ = [
    "ABSENT",
    "GoldTable",
    "Watermark",
    "combine",
    "commit",
    "digest",
    "gold_spec",
    "redefining_versions",
    "same_schema",
    "watermarks_of",
]

_DEFINITION: Final = "gold:definition"
_MADE: Final = "mg.made"
"""In a commit's metadata: the id of the one commit that a build meant to make, and what it was made of."""

_NEWEST: Final = "gold:newest"
"""App transaction: the digest of that id. It says which commit's account is the one of a handle's version."""


class Watermark(NamedTuple):
    """What of one silver table is included: the incarnation, as a digest of its id, and the version."""

    incarnation: int
    version: int


ABSENT: Final = Watermark(incarnation=0, version=-1)
"""The silver table did not exist."""

_MIXED: Final = 1
"""Incarnation that stands for several: no table has it, so the next build starts anew."""


@dataclass(frozen=True, slots=True)
class GoldTable:
    """What a version of a gold table was made of; ``definition`` is ``None`` where nobody wrote it down."""

    handle: DeltaTable
    definition: int | None = None
    silver: Mapping[str, Watermark] = field(default_factory=dict)


def digest(*parts: str | bytes) -> int:
    """60 bits of the SHA-256 of some texts, positive: an app transaction has room for one integer only."""
    sha = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        sha.update(len(data).to_bytes(8, "big") + data)
    return int.from_bytes(sha.digest()[:8], "big") >> 4


def gold_spec(
    name: str, columns: Sequence[Mapping[str, str]], *, stats_columns: Sequence[str], description: str, has_change_feed: bool = True
) -> TableSpec:
    """What a gold table is created with, from the model's contract: ``name``, ``data_type``, ``description`` of each column.

    Raises:
        KeyError: the contract holds a type that gold does not use.
    """
    return TableSpec(
        layer="gold",
        name=name,
        schema=pl.Schema({column["name"]: dtype_of_sql(column["data_type"]) for column in columns}),
        stats_columns=tuple(stats_columns),
        partition_by=(),
        has_change_feed=has_change_feed,
        description=description,
        comments={column["name"]: " ".join(column["description"].split()) for column in columns},
    )


def same_schema(handle: DeltaTable, spec: TableSpec) -> bool:
    """Whether the table has the columns of the contract, by name, type and order."""
    wanted = pl.DataFrame(schema=spec.schema).to_arrow(compat_level=pl.CompatLevel.oldest()).schema
    return list(columns_of_table(handle).items()) == list(pl.DataFrame(wanted.empty_table()).schema.items())


def watermarks_of(handle: DeltaTable, silver_ids: Mapping[str, str | None], names: Iterable[str]) -> GoldTable:
    """Read what a gold table was made of.

    ``silver_ids`` holds the id of each silver table now, ``None`` where it does not exist; a table whose recorded
    incarnation is another one gets that incarnation without a version.
    """
    made = _made_by(next(commits_of(handle), {}))  # mostly: and a look at a transaction reads the whole log again
    if made is None and (newest := app_version(handle, _NEWEST)) is not None:
        made = next((found for _, found in _made_newest_first(handle) if digest(found["id"]) == newest), None)
    if made is not None:
        recorded = {name: Watermark(*included) for name, included in made["silver"].items()}
        return GoldTable(handle, made["definition"], {name: _as_of_now(each, silver_ids.get(name)) for name, each in recorded.items()})
    # The log entry of the newest build is gone. Each look at a transaction reads the whole log: 40 of them, where this was the only way.
    silver = {name: included for name in names if (included := _marked(handle, name, silver_ids.get(name))) is not None}
    return GoldTable(handle, app_version(handle, _DEFINITION), silver)


def redefining_versions(handle: DeltaTable, above: int) -> list[int]:
    """The versions above one that a build made by other definitions than the build before it did, as far back as the log goes."""
    if handle.version() <= above:
        return []
    made: list[tuple[int, int]] = []
    for version, account in _made_newest_first(handle):
        made.append((version, account["definition"]))
        if version <= above:
            break
    return [version for (version, definition), (_, before) in pairwise(made) if version > above and definition != before]


def _made_newest_first(handle: DeltaTable) -> Iterator[tuple[int, dict[str, Any]]]:
    """The commits of builds, as far back as the log goes: version, and what each says of itself. A compaction says nothing."""
    for commit in commits_of(handle, first_look=2):
        if (made := _made_by(commit)) is not None:
            yield commit["version"], made


def _made_by(commit: Mapping[str, Any]) -> dict[str, Any] | None:
    return None if (text := commit.get(_MADE)) is None else json.loads(text)


def _as_of_now(recorded: Watermark, current_id: str | None) -> Watermark:
    known = current_id is not None and digest(current_id) == recorded.incarnation
    return recorded if known else Watermark(recorded.incarnation, -1)


def _marked(handle: DeltaTable, name: str, current_id: str | None) -> Watermark | None:
    incarnation = app_version(handle, _incarnation_id(name))
    if incarnation is None:
        return None
    version = None if current_id is None else app_version(handle, _silver_id(current_id))
    return _as_of_now(Watermark(incarnation, -1 if version is None else version), current_id)


def combine(inputs: Sequence[Mapping[str, Watermark]]) -> dict[str, Watermark]:
    """What a model includes whose inputs include these: of each silver table the least."""
    combined: dict[str, Watermark] = {}
    for each in inputs:
        for name, included in each.items():
            other = combined.get(name, included)
            same = other.incarnation == included.incarnation
            combined[name] = Watermark(included.incarnation if same else _MIXED, min(other.version, included.version))
    return combined


def commit(
    lake: Lake,
    spec: TableSpec,
    rows: Callable[[], pa.RecordBatchReader],
    *,
    handle: DeltaTable | None,
    predicate: str | None,
    definition: int,
    silver: Mapping[str, Watermark],
    silver_ids: Mapping[str, str | None],
    only_adds: bool = False,
    transactions: Sequence[Transaction] = (),
) -> DeltaTable:
    """Replace what ``predicate`` selects, or everything where it is ``None``, in one Delta commit.

    The commit goes through the handle that the plan was made from. Where it fails, the table is opened again and decides: the commit
    landed and its answer was lost; or the table was only compacted since, and the same rows are written again; or another build came
    first, and nothing is overwritten.

    Args:
        lake: the lake.
        spec: the table.
        rows: gives the rows, anew each time that it is called.
        handle: the table as the plan saw it, ``None`` where there was none.
        predicate: SQL of the rows to replace.
        definition: digest of what the rows were made by.
        silver: what of each silver table they include.
        silver_ids: id of each silver table.
        only_adds: add the rows and replace none.
        transactions: app transactions that the commit bears beside those that say what it was made of.

    Returns:
        The table with the commit; it may have been compacted since.

    Raises:
        PermanentError: access is refused.
        OvertakenError: another build committed first.
        TransientError: the store did not answer.
    """
    what = f"gold/{spec.name} in the lake {lake.uri}"
    commit_id = uuid.uuid4().hex
    account = json.dumps({"id": commit_id, "definition": definition, "silver": silver}, separators=(",", ":"))
    planned_version = -1 if handle is None else handle.version()
    if handle is not None and predicate is None and not only_adds:
        handle = _with_feed(handle, spec, what)
    looked: list[DeltaTable] = []

    def open_table() -> DeltaTable:
        first = handle is not None and not looked
        looked.append(handle if first and handle is not None else lake.created(spec))
        return looked[-1]

    def decide(current: DeltaTable) -> AlreadyCommitted[None] | Append[None] | Replace[None]:
        made = _made_since(current, planned_version)
        if commit_id in made:
            return AlreadyCommitted(None)
        if made:
            raise OvertakenError(
                f"{what} was committed to by another build since this one looked: build again, and the newer rows are included."
            )
        markers = [*_markers(commit_id, definition, silver, silver_ids), *transactions]
        if only_adds:
            return Append(pl.DataFrame(rows().read_all(), schema=spec.schema), markers, None, {_MADE: account})
        new_schema = predicate is None and not same_schema(current, spec)
        return Replace(rows, predicate, new_schema, markers, None, {_MADE: account})

    commit_once(what, open_table, decide)
    return looked[-1]


def _with_feed(handle: DeltaTable, spec: TableSpec, what: str) -> DeltaTable:
    """The table with or without a change feed as its model says today: it may have been made by a release whose model said otherwise."""
    has_feed = str(spec.has_change_feed).lower()
    if handle.metadata().configuration.get(CHANGE_FEED_PROPERTY, "false") != has_feed:
        with store_errors(what):
            handle.alter.set_table_properties({CHANGE_FEED_PROPERTY: has_feed})
            handle.update_incremental()
    return handle


def _made_since(handle: DeltaTable, version: int) -> set[str]:
    """Ids of the commits that builds made above a version."""
    since = takewhile(lambda commit: commit["version"] > version, commits_of(handle)) if handle.version() > version else ()
    return {made["id"] for commit in since if (made := _made_by(commit)) is not None}


def _markers(commit_id: str, definition: int, silver: Mapping[str, Watermark], silver_ids: Mapping[str, str | None]) -> list[Transaction]:
    markers = [Transaction(_NEWEST, digest(commit_id)), Transaction(_DEFINITION, definition)]
    for name, included in silver.items():
        markers.append(Transaction(_incarnation_id(name), included.incarnation))
        if (table_id := silver_ids.get(name)) is not None and included.version >= 0:
            markers.append(Transaction(_silver_id(table_id), included.version))
    return markers


def _incarnation_id(table: str) -> str:
    return f"gold:incarnation:{table}"


def _silver_id(table_id: str) -> str:
    return f"gold:{table_id}"
