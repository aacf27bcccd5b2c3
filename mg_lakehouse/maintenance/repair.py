"""Repairs a bronze table, the only copy of the queue's messages: it deletes nothing, and names what cannot be read.

A damaged log entry is set aside, and a readable one takes its place, because silver and the change feed count by versions. The data files that no
entry names hold its batches. A batch whose rows silver already has gets a version that silver has read, so it is not read twice. Every other
batch is committed as the newest version, and silver reads it like any other. No batch occurs twice: only rows whose message bronze lacks are
taken. After a kill, the repair continues where it stopped.

Nobody commits to a damaged table (:mod:`mg_lakehouse.lake.damage`), so the repair has it to itself until its last entry is in place.
"""

from __future__ import annotations

import io
import json
import os
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable, Transaction

from mg_lakehouse.bronze.append import BATCH_MARKER, LANE, append_batch, ledger_of
from mg_lakehouse.bronze.read_progress import progress_app_of, recorded_progress_of, refuse_lost_bronze
from mg_lakehouse.bronze.tables import BRONZE_SPECS
from mg_lakehouse.errors import PermanentError
from mg_lakehouse.events.catalogue import REJECTED_ITEMS, silver_tables
from mg_lakehouse.events.schemas import TIMESTAMP
from mg_lakehouse.lake.commit import AlreadyCommitted, Append, commit_once
from mg_lakehouse.lake.commit_log import app_version
from mg_lakehouse.lake.damage import Damage, damage_of, entry_state, log_versions
from mg_lakehouse.lake.durable import sync_file, sync_folder
from mg_lakehouse.lake.errors import store_errors
from mg_lakehouse.lake.file_stats import all_files, files_between
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.lake.ledger import SliceLedger
from mg_lakehouse.lake.log_files import LOG, actions_of, data_file, entry_file, files_named, log_of
from mg_lakehouse.lake.scratch import scratch_folder
from mg_lakehouse.lake.tables import TableSpec

__all__ = ["SIDE_FOLDER", "Recovered", "Repair", "planned_repair", "repair"]

SIDE_FOLDER: Final = "_set_aside"
"""A table's folder for damaged files. Delta, its readers and vacuum ignore names that begin with an underscore."""

_REPAIRED: Final = "mg.repaired"
_HINT: Final = "_last_checkpoint"
_KEYS: Final = ("message_id", "batch_id", "received_at")
_SPECS: Final[Mapping[str, TableSpec]] = {spec.name: spec for spec in BRONZE_SPECS}


class Recovered(NamedTuple):
    """A batch that no readable commit has: the count of its messages that bronze lacks, their data files, and the log version to restore it to.

    ``version`` is ``None`` if the batch is committed as a new version.
    """

    batch_id: str
    messages: int
    files: tuple[str, ...]
    version: int | None


@dataclass(frozen=True, slots=True)
class Repair:
    """The plan or the result of a bronze table's repair; paths are relative to the table's folder.

    ``damaged`` is set aside. ``unreadable`` are data files that the log names and that cannot be read: their rows are lost unless another file
    has them. ``unknown`` are unreadable files that the log does not name; they stay in place.
    """

    table: str
    damaged: tuple[Damage, ...] = ()
    unreadable: tuple[Damage, ...] = ()
    recovered: tuple[Recovered, ...] = ()
    unknown: tuple[str, ...] = ()

    @property
    def anything(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.damaged or self.unreadable or self.recovered)


def planned_repair(lake: Lake, table: str) -> Repair:
    """Plan the repair of a bronze table; change nothing.

    Raises:
        PermanentError: the lake is in an object store, or the log lacks the table's metadata.
        TransientError: the store did not answer.
    """
    return _looked_at(lake, table).repair


def repair(lake: Lake, table: str) -> Repair:
    """Repair a bronze table, and return what was done.

    Raises:
        PermanentError, TransientError: as for :func:`planned_repair`, or the disk is full. Work done before stays; another call continues.
    """
    look = _looked_at(lake, table)
    if look.repair.anything:
        with store_errors(f"bronze/{table} in the lake {lake.uri}"):
            _apply(lake, look)
    return look.repair


@dataclass(frozen=True, slots=True)
class _Log:
    """The readable part of a table's log: actions by version, and those of the checkpoint before them."""

    folder: Path
    entries: Mapping[int, Sequence[Mapping[str, Any]]]
    base: int
    checkpoint: Sequence[Mapping[str, Any]]
    others: Sequence[Mapping[str, Any]]

    def actions(self, up_to: int | None = None) -> Iterator[Mapping[str, Any]]:
        """Yield the actions of a version in order; by default of the newest."""
        yield from self.checkpoint
        for version in sorted(self.entries):
            if version > self.base and (up_to is None or version <= up_to):
                yield from self.entries[version]

    def active(self) -> dict[str, int]:
        """Return paths and sizes of the newest version's data files."""
        files: dict[str, int] = {}
        for action in self.actions():
            if (add := action.get("add")) is not None:
                files[add["path"]] = add["size"]
            elif (remove := action.get("remove")) is not None:
                files.pop(remove["path"], None)
        return files

    def named(self) -> set[Path]:
        """Return all data files that any entry or checkpoint names, active or not."""
        every = (*self.others, *self.checkpoint, *(action for actions in self.entries.values() for action in actions))
        return {data_file(self.folder, file["path"]) for file in files_named(every, "add", "remove", "cdc")}

    def table_id(self) -> str | None:
        """Return the table's id."""
        return next((action["metaData"]["id"] for action in self.actions() if "metaData" in action), None)

    def lane(self, up_to: int) -> int:
        """Return the fencing counter at a version: how many batches were committed up to it."""
        counters = [action["txn"]["version"] for action in self.actions(up_to) if "txn" in action and action["txn"]["appId"] == LANE]
        return max(counters, default=0)

    def committed_near(self, version: int) -> int:
        """Return the time in milliseconds of the nearest readable commit below a version, else of the nearest above."""
        times = {
            committed: int(action["commitInfo"]["timestamp"])
            for committed, actions in self.entries.items()
            for action in actions
            if "commitInfo" in action
        }
        below = [committed for committed in times if committed < version]
        return times[max(below)] if below else times[min(times)] if times else int(time.time() * 1000)


@dataclass(frozen=True, slots=True)
class _Look:
    """A plan and its input. ``lacking`` has the keys of the rows to recover, and each row's ``file``."""

    spec: TableSpec
    log: _Log
    repair: Repair
    lacking: pl.DataFrame = field(default_factory=pl.DataFrame)


def _looked_at(lake: Lake, table: str) -> _Look:
    if not lake.is_local:
        raise PermanentError(
            f"The lake {lake.uri} is not a folder on this machine: restore damaged objects of bronze from the bucket's versions."
        )
    spec, folder = _SPECS[table], Path(lake.uri_of("bronze", table))
    if not folder.is_dir():
        refuse_lost_bronze(lake, table)
        return _Look(spec, _Log(folder, {}, -1, (), ()), Repair(table))
    log, damaged, progress = _read_log(lake, folder)
    active = log.active()
    unreadable = tuple(_unreadable(folder, active))
    orphans, unknown = (
        _orphans(folder, log.named()) if damaged or unreadable or folder.joinpath(SIDE_FOLDER).is_dir() else (pl.DataFrame(), ())
    )
    bad = {damage.file for damage in unreadable}
    lacking = _lacking(orphans, [str(data_file(folder, path)) for path in active if path not in bad])
    free = [damage.version for damage in damaged if damage.version is not None and max(0, log.base) < damage.version <= progress]
    recovered = tuple(_recovered(lacking, _flattened(lake, lacking), free))
    return _Look(spec, log, Repair(table, damaged, unreadable, recovered, unknown), lacking)


def _read_log(lake: Lake, folder: Path) -> tuple[_Log, tuple[Damage, ...], int]:
    """Return a log's readable part, its damage, and the version up to which silver has read it."""
    entries = {version: actions_of(entry_file(folder, version).read_bytes()) for version in _readable(folder)}
    first_look = list(damage_of(folder))
    bad = {damage.file for damage in first_look}
    checkpoints = {
        int(file.name[:20]): _checkpoint_actions(file)
        for file in sorted(log_of(folder).glob("*.checkpoint.parquet"))
        if f"{LOG}/{file.name}" not in bad
    }
    others = [action for actions in checkpoints.values() for action in actions]
    every = (*others, *(action for actions in entries.values() for action in actions))
    table_id = next((metadata["id"] for metadata in files_named(every, "metaData")), None) or _id_by_silver(lake, folder.name)
    progress = 0 if table_id is None else recorded_progress_of(lake, progress_app_of(table_id))
    damaged = list(damage_of(folder, up_to=progress))
    broken = [damage.version for damage in damaged if damage.version is not None]
    present = {*entries, *broken}

    def leads_on(base: int) -> bool:
        """Whether all entries after a checkpoint, or without one all entries, are present up to the newest."""
        return all(version in present for version in range(base + 1, max(present, default=-1) + 1))

    base = max((version for version in checkpoints if not broken or version < min(broken)), default=-1)
    if not leads_on(
        base
    ):  # maintenance removed the entries before the hole: only a checkpoint after it has them, and what that lacks is committed again
        base = max(checkpoints, default=base)
    whole = leads_on(base)
    # A checkpoint after a hole is set aside, so the files that it names count as orphans.
    older = [action for version, actions in checkpoints.items() if version < base for action in actions]
    log = _Log(folder, entries, base, checkpoints.get(base, ()), older)
    if whole and base < 0 and 0 in broken:
        log = replace(log, entries=entries | {0: _first_entry(lake, folder.name)})
    if not whole or log.table_id() is None:
        raise PermanentError(
            f"The log of bronze/{folder.name} in the lake {lake.uri} lacks the table's metadata: restore the folder {log_of(folder)} "
            "from a backup. Nothing was changed, and the data files are intact."
        )
    # Checkpoints of a log with a hole lack the entries in it.
    over = [
        Damage(f"{LOG}/{version:020}.checkpoint.parquet", "stale") for version in checkpoints if broken and version > max(base, min(broken))
    ]
    return log, (*damaged, *over), progress


def _readable(folder: Path) -> list[int]:
    return (
        [version for version in log_versions(folder) if entry_state(entry_file(folder, version)) is None] if log_of(folder).is_dir() else []
    )


def _first_entry(lake: Lake, table: str) -> list[dict[str, Any]]:
    """Rebuild the first log entry of a bronze table, with the table id that silver recorded, if it has read the table."""
    spec = _SPECS[table]
    with scratch_folder("repair") as folder:
        scratch = Lake(str(folder.path))
        scratch.ensure(spec)
        actions = actions_of(entry_file(Path(scratch.uri_of("bronze", table)), 0).read_bytes())
    known = _id_by_silver(lake, table)
    if known is not None:
        for metadata in files_named(actions, "metaData"):
            metadata["id"] = known  # type: ignore[index]
    return actions


def _id_by_silver(lake: Lake, table: str) -> str | None:
    """Return the id of a bronze table from the newest silver commit that records it; ``None`` if none does."""
    folder = Path(lake.uri_of("silver", REJECTED_ITEMS))
    for version in reversed(_readable(folder)):
        actions = actions_of(entry_file(folder, version).read_bytes())
        ledgers = [SliceLedger.from_commit(dict(info)) for info in files_named(actions, "commitInfo")]
        if any(ledger is not None and ledger.source == table for ledger in ledgers):
            apps = [str(txn["appId"]) for txn in files_named(actions, "txn")]
            return next((app.removeprefix(progress_app_of("")) for app in apps if app.startswith(progress_app_of(""))), None)
    return None


def _checkpoint_actions(file: Path) -> list[dict[str, Any]]:
    """Return the actions of a checkpoint, in the form of a log entry."""
    rows = pl.read_parquet(file, glob=False).to_dicts()
    return [{kind: value} for row in rows for kind, value in row.items() if value is not None and not _is_empty(value)]


def _is_empty(value: Any) -> bool:
    """Whether a struct has no values: a null in Parquet may be read as one."""
    return isinstance(value, dict) and all(member is None for member in value.values())


def _unreadable(folder: Path, active: Mapping[str, int]) -> Iterator[Damage]:
    for path, size in active.items():
        file = data_file(folder, path)
        if not file.exists():
            yield Damage(path, "missing")
        elif file.stat().st_size != size:
            yield Damage(path, "torn" if file.stat().st_size else "empty")
        else:
            try:
                pq.read_metadata(file)
            except (pa.ArrowException, OSError):
                yield Damage(path, "foreign")


def _orphans(folder: Path, named: set[Path]) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """Return the row keys of data files that the log does not name, and the unreadable ones of these files."""
    orphans, unknown = [], []
    for file in sorted((*folder.glob("*/*.parquet"), *folder.glob("*.parquet")), key=lambda path: path.stat().st_mtime_ns):
        if file in named or file.relative_to(folder).parts[0].startswith(("_", ".")):
            continue
        try:
            rows = pl.read_parquet(file, columns=list(_KEYS), glob=False, hive_partitioning=False)
        except (pl.exceptions.PolarsError, OSError):
            unknown.append(str(file.relative_to(folder)))
        else:
            orphans.append(rows.cast({"received_at": TIMESTAMP}).with_columns(file=pl.lit(str(file.relative_to(folder)))))
    return pl.concat(orphans) if orphans else pl.DataFrame(), tuple(unknown)


def _lacking(orphans: pl.DataFrame, active: Sequence[str]) -> pl.DataFrame:
    """Return the rows whose message bronze lacks, each message once."""
    if orphans.is_empty():
        return orphans
    if active:
        # The table cannot be opened while it is damaged. File names are not glob patterns.
        ids = pl.scan_parquet(list(active), glob=False, hive_partitioning=False, schema={"message_id": pl.String}, extra_columns="ignore")
        held = ids.join(orphans.lazy().select("message_id"), on="message_id", how="semi").collect()
        orphans = orphans.join(held, on="message_id", how="anti")
    return orphans.unique("message_id", keep="first", maintain_order=True)


def _flattened(lake: Lake, lacking: pl.DataFrame) -> set[str]:
    """Return the batches that silver has rows of."""
    if lacking.is_empty():
        return set()
    span = (lacking["received_at"].min(), lacking["received_at"].max())
    known: list[pl.DataFrame] = []
    for table in silver_tables():
        with suppress(PermanentError):  # a damaged silver table proves nothing, and is rebuilt from bronze
            handle = lake.open("silver", table)
            if handle is not None and (files := files_between(handle, "received_at", [span])):  # type: ignore[list-item]
                known.append(
                    lake.scan(files, handle).select("message_id").join(lacking.lazy(), on="message_id", how="semi").unique().collect()
                )
    return set(lacking.join(pl.concat(known), on="message_id", how="semi")["batch_id"]) if known else set()


def _recovered(lacking: pl.DataFrame, flattened: set[str], free: Sequence[int]) -> Iterator[Recovered]:
    """Yield the batches of the rows, oldest first. The newest batches that silver has get the newest free versions that it has read."""
    if lacking.is_empty():
        return
    batches = (
        lacking.group_by("batch_id")
        .agg(pl.col("received_at").max(), pl.len(), pl.col("file").unique().sort())
        .sort("received_at", "batch_id")
    )
    known = [batch for batch in batches["batch_id"] if batch in flattened]
    versions = dict(zip(reversed(known), sorted(free, reverse=True), strict=False))
    for batch, _, messages, files in batches.iter_rows():
        yield Recovered(batch, messages, tuple(files), versions.get(batch))


def _apply(lake: Lake, look: _Look) -> None:
    folder = look.log.folder
    aside = folder / SIDE_FOLDER
    aside.mkdir(exist_ok=True)
    sync_folder(folder)
    # Checkpoints first: the table stays damaged, and closed to other writers, until its last entry is in place.
    files = [damage.file for damage in look.repair.damaged if damage.version is None]
    for name in (*([f"{LOG}/{_HINT}"] if files else []), *files):
        _set_aside(folder, name, move=True)
    batches = {batch.version: batch for batch in look.repair.recovered}
    for version in sorted(damage.version for damage in look.repair.damaged if damage.version is not None):
        _replace_entry(look, version, batches.get(version))
    for damage in look.repair.unreadable:
        _stand_in(look, damage.file)
    lake.handles.forget(lake.uri_of("bronze", look.spec.name))
    for batch in look.repair.recovered:
        if batch.version is None:
            _commit_anew(lake, look, batch)


def _stand_in(look: _Look, path: str) -> None:
    """Set an unreadable data file aside, and put one without rows in its place, of the size in the log.

    The log does not change: silver reads the version that added the file from the change feed, which needs the file, and it would need it for a
    version that removed it too. A later compaction drops the file.
    """
    folder, size = look.log.folder, look.log.active()[path]
    file = data_file(folder, path)
    draft = folder / SIDE_FOLDER / f".{file.name}.{uuid.uuid4().hex}"
    draft.write_bytes(_no_rows(look.spec, size))
    sync_file(draft)
    _set_aside(folder, str(file.relative_to(folder)), move=False)
    file.parent.mkdir(exist_ok=True)
    draft.replace(file)
    sync_folder(file.parent)


def _no_rows(spec: TableSpec, size: int) -> bytes:
    """Return a Parquet file with a table's columns and no rows, padded to ``size`` after its first magic bytes, where nothing points to.

    Raises:
        PermanentError: the file is larger than ``size``.
    """
    names = [name for name in spec.schema if name not in spec.partition_by]
    rows = pl.DataFrame(schema=spec.schema).select(names).to_arrow(compat_level=pl.CompatLevel.oldest())
    written = io.BytesIO()
    pq.write_table(rows.slice(0, 0), written, store_schema=False)
    content = written.getvalue()
    if len(content) > size:
        raise PermanentError(
            f"The log gives {size:,} bytes for a data file of bronze/{spec.name}, too few for this table: restore the folder from a backup."
        )
    return content[:4] + b"\0" * (size - len(content)) + content[4:]


def _set_aside(folder: Path, name: str, *, move: bool) -> None:
    """Link or move a file, if it exists, to the folder for damaged files, under its name or its name with a number."""
    file = folder / name
    if not file.exists():
        return
    target = next(path for path in _names(folder / SIDE_FOLDER, file.name) if not path.exists() or path.samefile(file))
    with suppress(FileExistsError):
        os.link(file, target)
    sync_folder(target.parent)
    if move:
        file.unlink()
        sync_folder(file.parent)


def _names(folder: Path, name: str) -> Iterator[Path]:
    yield folder / name
    number = 1
    while True:
        number += 1
        yield folder / f"{name}.{number}"


def _replace_entry(look: _Look, version: int, told: Recovered | None) -> None:
    """Replace a damaged entry, which is set aside, by a readable one. An entry exists at every moment."""
    folder, log = look.log.folder, look.log
    entry = entry_file(folder, version)
    _set_aside(folder, f"{LOG}/{entry.name}", move=False)
    info: dict[str, Any] = {"timestamp": log.committed_near(version), "operation": "WRITE", "operationParameters": {"mode": "Append"}}
    info["engineInfo"] = "mg-lakehouse"
    actions: list[Mapping[str, Any]] = []
    if version == 0:
        actions = [action for action in log.entries[0] if "commitInfo" not in action]
        info["operation"] = "CREATE TABLE"
    if told is not None:
        rows = _rows(look, told)
        adds = [_add(look.spec, folder, path, file_rows) for path, file_rows in _files_of(look, told, rows)]
        info["operationMetrics"] = {"num_added_files": len(adds), "num_added_rows": rows.height}
        info |= ledger_of(rows, told.batch_id).metadata()
        markers = {LANE: log.lane(version) + 1, f"{BATCH_MARKER}{told.batch_id}": 1}
        now = int(time.time() * 1000)
        actions = [{"add": add} for add in adds]
        actions += [{"txn": {"appId": LANE, "version": markers[LANE]}}]
        actions += [{"txn": {"appId": f"{BATCH_MARKER}{told.batch_id}", "version": 1, "lastUpdated": now}}]
    info[_REPAIRED] = json.dumps({"at": datetime.now(UTC).isoformat(timespec="seconds")})
    draft = folder / SIDE_FOLDER / f".{entry.name}.{uuid.uuid4().hex}"
    draft.write_text(
        "".join(f"{json.dumps(action, separators=(',', ':'))}\n" for action in ({"commitInfo": info}, *actions)), encoding="utf-8"
    )
    sync_file(draft)
    log_of(folder).mkdir(exist_ok=True)
    sync_folder(folder)
    if entry.exists():
        draft.replace(entry)
    else:  # another writer may have committed this version
        try:
            os.link(draft, entry)
        except FileExistsError:
            raise PermanentError(f"{entry} was committed meanwhile: stop all writers to the lake, and repair it again.") from None
        finally:
            draft.unlink()
    sync_folder(log_of(folder))


def _rows(look: _Look, batch: Recovered) -> pl.DataFrame:
    """Return the rows of a batch to recover, with the table's columns and ``file``."""
    lacking = look.lacking.filter(pl.col("batch_id") == batch.batch_id)
    by_file = []
    for name in batch.files:
        rows = pl.read_parquet(look.log.folder / name, glob=False, hive_partitioning=False)
        ids = lacking.filter(pl.col("file") == name).select("message_id")
        by_file.append(
            rows.join(ids, on="message_id", how="semi")
            .unique("message_id", keep="first", maintain_order=True)
            .with_columns(file=pl.lit(name))
        )
    rows = pl.concat(by_file, how="diagonal")
    day = pl.col("file").str.extract(r"received_date=(\d{4}-\d{2}-\d{2})").str.to_date()
    schema = look.spec.schema
    missing = [pl.lit(None, dtype).alias(name) for name, dtype in schema.items() if name not in rows.columns and name != "received_date"]
    return rows.with_columns(day.alias("received_date"), *missing).select(
        *(pl.col(name).cast(dtype) for name, dtype in schema.items()), "file"
    )


def _files_of(look: _Look, batch: Recovered, rows: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame]]:
    """Yield the data files of a batch: an existing file if all its rows are recovered, else a new file of the recovered rows."""
    for name in batch.files:
        recovered = rows.filter(pl.col("file") == name)
        if (
            recovered.height
            == pl.scan_parquet(look.log.folder / name, glob=False, hive_partitioning=False).select(pl.len()).collect().item()
        ):
            yield name, recovered
            continue
        written = Path(name).parent / f"part-{uuid.uuid4()}-repaired.zstd.parquet"
        recovered.drop("file", *look.spec.partition_by).write_parquet(look.log.folder / written, compression="zstd")
        sync_file(look.log.folder / written)
        yield str(written), recovered


def _add(spec: TableSpec, folder: Path, path: str, rows: pl.DataFrame) -> dict[str, Any]:
    """Return the log action that adds a data file."""
    file = folder / path
    sync_file(file)
    sync_folder(file.parent)
    known = [name for name in spec.stats_columns if rows[name].null_count() < rows.height]
    stats = {
        "numRecords": rows.height,
        "minValues": {name: _value(rows[name].min()) for name in known},
        "maxValues": {name: _value(rows[name].max()) for name in known},
        "nullCount": {name: rows[name].null_count() for name in spec.stats_columns},
    }
    return {
        "path": path,
        "partitionValues": {name: _value(rows[name][0]) for name in spec.partition_by},
        "size": file.stat().st_size,
        "modificationTime": file.stat().st_mtime_ns // 1_000_000,
        "dataChange": True,
        "stats": json.dumps(stats),
    }


def _value(value: Any) -> Any:
    """Format a value for the statistics in a log."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return value.isoformat() if isinstance(value, date) else value


def _commit_anew(lake: Lake, look: _Look, batch: Recovered) -> None:
    """Commit a batch like any other. If a readable commit has its ledger, only some rows were lost, and they are committed without a ledger."""
    rows = _rows(look, batch).drop("file")
    if append_batch(lake, rows, batch.batch_id, table=look.spec).new == rows.height:
        return

    def decide(handle: DeltaTable) -> AlreadyCommitted[None] | Append[None]:
        files = all_files(handle)
        held = (
            lake.scan(files, handle).select("message_id").join(rows.lazy().select("message_id"), on="message_id", how="semi").collect()
            if files
            else None
        )
        missing = rows if held is None else rows.join(held, on="message_id", how="anti")
        if missing.is_empty():
            return AlreadyCommitted(None)
        return Append(missing, (Transaction(LANE, (app_version(handle, LANE) or 0) + 1),), None, {_REPAIRED: "{}"})

    commit_once(f"bronze/{look.spec.name} in the lake {lake.uri}", lambda: lake.ensure(look.spec), decide)
