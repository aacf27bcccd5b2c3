"""The repair of a bronze table, which is the only copy of what the queue gave: nothing is deleted, and what cannot be read is named.

A damaged entry of the log is set aside, and one that can be read takes its place, for silver and the feed of changes count by versions. What it told
is told again by the data files that no entry names: a batch whose rows silver has already takes a version that silver has read, so that it is not
read twice; every other batch is committed anew, as the newest version, and silver reads it as it reads any. A batch is never there twice, for only
rows whose message bronze lacks are taken. Done again after a kill, it goes on where it was.

While a table is damaged nobody commits to it (:mod:`mg_lakehouse.lake.damage`), so the repair has it for itself until its last entry is in place.
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
from tempfile import TemporaryDirectory
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
from mg_lakehouse.lake.commit import Append, Landed, commit_once
from mg_lakehouse.lake.damage import Damage, damage_of, entry_state, log_versions
from mg_lakehouse.lake.durable import sync_file, sync_folder
from mg_lakehouse.lake.errors import store_errors
from mg_lakehouse.lake.file_stats import all_files, files_between
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.lake.ledger import SliceLedger
from mg_lakehouse.lake.log_files import LOG, actions_of, data_file, entry_file, files_named, log_of
from mg_lakehouse.lake.tables import TableSpec

__all__ = ["SIDE_FOLDER", "Recovered", "Repair", "planned_repair", "repair"]

SIDE_FOLDER: Final = "_set_aside"
"""Folder of a table for what was damaged. Delta and its readers pass over names that begin with an underscore, a vacuum too."""

_REPAIRED: Final = "mg.repaired"
_HINT: Final = "_last_checkpoint"
_KEYS: Final = ("message_id", "batch_id", "received_at")
_SPECS: Final[Mapping[str, TableSpec]] = {spec.name: spec for spec in BRONZE_SPECS}


class Recovered(NamedTuple):
    """A batch that no readable commit has: its rows that bronze lacks, the data files that hold them, and the log's version that tells of it again.

    ``version`` is ``None`` where it is committed anew.
    """

    batch_id: str
    messages: int
    files: tuple[str, ...]
    version: int | None


@dataclass(frozen=True, slots=True)
class Repair:
    """What is to be done to a bronze table, or was: paths are those in the table's folder.

    ``damaged`` is set aside. ``unreadable`` are data files that the log names and that cannot be read, so that their rows are lost unless
    another file has them; ``unknown`` are such that the log does not name, which stay where they are.
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
    """What a repair of a bronze table would do; nothing is changed.

    Raises:
        PermanentError: the lake is in an object store, or the log lacks what says what the table is.
        TransientError: the store did not answer.
    """
    return _looked_at(lake, table).repair


def repair(lake: Lake, table: str) -> Repair:
    """Repair a bronze table, and return what was done.

    Raises:
        PermanentError, TransientError: as for :func:`planned_repair`, or the disk is full. What was done until then stays; called again, it goes on.
    """
    look = _looked_at(lake, table)
    if look.repair.anything:
        with store_errors(f"bronze/{table} in the lake {lake.uri}"):
            _apply(lake, look)
    return look.repair


@dataclass(frozen=True, slots=True)
class _Log:
    """What of a table's log can be read: actions by version, and those of the checkpoint that stands before them."""

    folder: Path
    entries: Mapping[int, Sequence[Mapping[str, Any]]]
    base: int
    checkpoint: Sequence[Mapping[str, Any]]
    others: Sequence[Mapping[str, Any]]

    def actions(self, up_to: int | None = None) -> Iterator[Mapping[str, Any]]:
        """The actions that a version is made of, in order; without one, the newest."""
        yield from self.checkpoint
        for version in sorted(self.entries):
            if version > self.base and (up_to is None or version <= up_to):
                yield from self.entries[version]

    def active(self) -> dict[str, int]:
        """Paths and sizes of the data files that the newest version is made of."""
        files: dict[str, int] = {}
        for action in self.actions():
            if (add := action.get("add")) is not None:
                files[add["path"]] = add["size"]
            elif (remove := action.get("remove")) is not None:
                files.pop(remove["path"], None)
        return files

    def named(self) -> set[Path]:
        """All data files that any entry or checkpoint names, whatever became of them."""
        every = (*self.others, *self.checkpoint, *(action for actions in self.entries.values() for action in actions))
        return {data_file(self.folder, each["path"]) for each in files_named(every, "add", "remove", "cdc")}

    def table_id(self) -> str | None:
        """Id of the table."""
        return next((action["metaData"]["id"] for action in self.actions() if "metaData" in action), None)

    def lane(self, up_to: int) -> int:
        """How many batches were committed up to a version."""
        lanes = [action["txn"]["version"] for action in self.actions(up_to) if "txn" in action and action["txn"]["appId"] == LANE]
        return max(lanes, default=0)

    def committed_near(self, version: int) -> int:
        """When the nearest readable commit below a version was made, else the nearest above, in milliseconds."""
        times = {
            each: int(action["commitInfo"]["timestamp"])
            for each, actions in self.entries.items()
            for action in actions
            if "commitInfo" in action
        }
        below = [each for each in times if each < version]
        return times[max(below)] if below else times[min(times)] if times else int(time.time() * 1000)


@dataclass(frozen=True, slots=True)
class _Look:
    """A plan, and what it was made from. ``lacking`` has the keys of the rows to take, and the ``file`` of each."""

    spec: TableSpec
    log: _Log
    repair: Repair
    lacking: pl.DataFrame = field(default_factory=pl.DataFrame)


def _looked_at(lake: Lake, table: str) -> _Look:
    if not lake.is_local:
        raise PermanentError(
            f"The lake {lake.uri} is no folder of this machine: restore damaged objects of bronze from the bucket's versions."
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
    bad = {each.file for each in unreadable}
    lacking = _lacking(orphans, [str(data_file(folder, path)) for path in active if path not in bad])
    free = [each.version for each in damaged if each.version is not None and max(0, log.base) < each.version <= progress]
    recovered = tuple(_recovered(lacking, _flattened(lake, lacking), free))
    return _Look(spec, log, Repair(table, damaged, unreadable, recovered, unknown), lacking)


def _read_log(lake: Lake, folder: Path) -> tuple[_Log, tuple[Damage, ...], int]:
    """What can be read of a log, what of it is damaged, and how far silver has read it."""
    entries = {version: actions_of(entry_file(folder, version).read_bytes()) for version in _readable(folder)}
    first_look = list(damage_of(folder))
    bad = {each.file for each in first_look}
    checkpoints = {
        int(file.name[:20]): _checkpoint_actions(file)
        for file in sorted(log_of(folder).glob("*.checkpoint.parquet"))
        if f"{LOG}/{file.name}" not in bad
    }
    others = [action for actions in checkpoints.values() for action in actions]
    every = (*others, *(action for actions in entries.values() for action in actions))
    table_id = next((each["id"] for each in files_named(every, "metaData")), None) or _id_by_silver(lake, folder.name)
    progress = 0 if table_id is None else recorded_progress_of(lake, progress_app_of(table_id))
    damaged = list(damage_of(folder, up_to=progress))
    broken = [each.version for each in damaged if each.version is not None]
    there = {*entries, *broken}

    def leads_on(base: int) -> bool:
        """Whether the entries behind a checkpoint, or all, are there up to the newest."""
        return all(version in there for version in range(base + 1, max(there, default=-1) + 1))

    base = max((version for version in checkpoints if not broken or version < min(broken)), default=-1)
    if not leads_on(
        base
    ):  # maintenance removed what stood before the hole: only a checkpoint behind it knows that, and what it lacks comes anew
        base = max(checkpoints, default=base)
    whole = leads_on(base)
    # What a checkpoint behind a hole names is no reason to leave a file alone: it is set aside.
    older = [action for version, actions in checkpoints.items() if version < base for action in actions]
    log = _Log(folder, entries, base, checkpoints.get(base, ()), older)
    if whole and base < 0 and 0 in broken:
        log = replace(log, entries=entries | {0: _first_entry(lake, folder.name)})
    if not whole or log.table_id() is None:
        raise PermanentError(
            f"The log of bronze/{folder.name} in the lake {lake.uri} lacks what says what the table is: restore the folder {log_of(folder)} "
            "from a backup. Its data files are as they were, and nothing was changed."
        )
    # Made of a log with a hole, they lack what was in it.
    over = [
        Damage(f"{LOG}/{version:020}.checkpoint.parquet", "stale") for version in checkpoints if broken and version > max(base, min(broken))
    ]
    return log, (*damaged, *over), progress


def _readable(folder: Path) -> list[int]:
    return (
        [version for version in log_versions(folder) if entry_state(entry_file(folder, version)) is None] if log_of(folder).is_dir() else []
    )


def _first_entry(lake: Lake, table: str) -> list[dict[str, Any]]:
    """What the first entry of a bronze table said: it is made anew, under the id by which silver knows the table where silver has read it."""
    spec = _SPECS[table]
    with TemporaryDirectory(prefix="mg-lakehouse-repair-") as folder:
        made = Lake(folder)
        made.ensure(spec)
        actions = actions_of(entry_file(Path(made.uri_of("bronze", table)), 0).read_bytes())
    known = _id_by_silver(lake, table)
    if known is not None:
        for metadata in files_named(actions, "metaData"):
            metadata["id"] = known  # type: ignore[index]
    return actions


def _id_by_silver(lake: Lake, table: str) -> str | None:
    """The id of a bronze table by the newest commit of silver that says which one it read; ``None`` where none does."""
    folder = Path(lake.uri_of("silver", REJECTED_ITEMS))
    for version in reversed(_readable(folder)):
        actions = actions_of(entry_file(folder, version).read_bytes())
        ledgers = [SliceLedger.of(dict(info)) for info in files_named(actions, "commitInfo")]
        if any(ledger is not None and ledger.source == table for ledger in ledgers):
            apps = [str(txn["appId"]) for txn in files_named(actions, "txn")]
            return next((app.removeprefix(progress_app_of("")) for app in apps if app.startswith(progress_app_of(""))), None)
    return None


def _checkpoint_actions(file: Path) -> list[dict[str, Any]]:
    """The actions of a checkpoint, as they would stand in an entry."""
    rows = pl.read_parquet(file, glob=False).to_dicts()
    return [{kind: value} for row in rows for kind, value in row.items() if value is not None and not _is_empty(value)]


def _is_empty(value: Any) -> bool:
    """Whether a struct is one of no values: what is null in Parquet may be read so."""
    return isinstance(value, dict) and all(each is None for each in value.values())


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
    """Keys of the rows of data files that the log does not name, and those of them that cannot be read."""
    found, unknown = [], []
    for file in sorted((*folder.glob("*/*.parquet"), *folder.glob("*.parquet")), key=lambda each: each.stat().st_mtime_ns):
        if file in named or file.relative_to(folder).parts[0].startswith(("_", ".")):
            continue
        try:
            rows = pl.read_parquet(file, columns=list(_KEYS), glob=False, hive_partitioning=False)
        except (pl.exceptions.PolarsError, OSError):
            unknown.append(str(file.relative_to(folder)))
        else:
            found.append(rows.cast({"received_at": TIMESTAMP}).with_columns(file=pl.lit(str(file.relative_to(folder)))))
    return pl.concat(found) if found else pl.DataFrame(), tuple(unknown)


def _lacking(orphans: pl.DataFrame, active: Sequence[str]) -> pl.DataFrame:
    """Rows whose message bronze has not, each message once."""
    if orphans.is_empty():
        return orphans
    if active:
        # The table cannot be opened while it is damaged. Names are no patterns.
        ids = pl.scan_parquet(list(active), glob=False, hive_partitioning=False, schema={"message_id": pl.String}, extra_columns="ignore")
        held = ids.join(orphans.lazy().select("message_id"), on="message_id", how="semi").collect()
        orphans = orphans.join(held, on="message_id", how="anti")
    return orphans.unique("message_id", keep="first", maintain_order=True)


def _flattened(lake: Lake, lacking: pl.DataFrame) -> set[str]:
    """Batches that silver has rows of."""
    if lacking.is_empty():
        return set()
    span = (lacking["received_at"].min(), lacking["received_at"].max())
    known: list[pl.DataFrame] = []
    for table in silver_tables():
        with suppress(PermanentError):  # what is damaged there tells nothing, and is made anew from bronze
            handle = lake.open("silver", table)
            if handle is not None and (files := files_between(handle, "received_at", [span])):  # type: ignore[list-item]
                known.append(
                    lake.scan(files, handle).select("message_id").join(lacking.lazy(), on="message_id", how="semi").unique().collect()
                )
    return set(lacking.join(pl.concat(known), on="message_id", how="semi")["batch_id"]) if known else set()


def _recovered(lacking: pl.DataFrame, flattened: set[str], free: Sequence[int]) -> Iterator[Recovered]:
    """The batches of some rows, oldest first. The newest that silver has take the newest versions that it has read and that are free."""
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
    # Checkpoints first: the table stays damaged, and nobody else's, until its last entry is in place.
    files = [each.file for each in look.repair.damaged if each.version is None]
    for name in (*([f"{LOG}/{_HINT}"] if files else []), *files):
        _set_aside(folder, name, move=True)
    told = {each.version: each for each in look.repair.recovered}
    for version in sorted(each.version for each in look.repair.damaged if each.version is not None):
        _replace_entry(look, version, told.get(version))
    for each in look.repair.unreadable:
        _stand_in(look, each.file)
    for batch in look.repair.recovered:
        if batch.version is None:
            _commit_anew(lake, look, batch)


def _stand_in(look: _Look, path: str) -> None:
    """Set an unreadable data file aside, and put one without rows in its place, of the size that the log says.

    The log stays as it is: silver reads the versions that added the file by the feed of changes, which wants it, and it would want it of a version that
    removed it, too. Compaction leaves the file out in its time.
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
    """A Parquet file of a table's columns without rows, padded to a size behind its first mark, where nothing points to.

    Raises:
        PermanentError: it is larger than that.
    """
    names = [name for name in spec.schema if name not in spec.partition_by]
    rows = pl.DataFrame(schema=spec.schema).select(names).to_arrow(compat_level=pl.CompatLevel.oldest())
    written = io.BytesIO()
    pq.write_table(rows.slice(0, 0), written, store_schema=False)
    content = written.getvalue()
    if len(content) > size:
        raise PermanentError(
            f"A data file of bronze/{spec.name} has {size:,} bytes by the log, and none of this table is so small: restore the folder from a backup."
        )
    return content[:4] + b"\0" * (size - len(content)) + content[4:]


def _set_aside(folder: Path, name: str, *, move: bool) -> None:
    """Have a file, if it is there, in the folder for what is damaged, under its name or that with a number behind it."""
    file = folder / name
    if not file.exists():
        return
    target = next(each for each in _names(folder / SIDE_FOLDER, file.name) if not each.exists() or each.samefile(file))
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
    """Put an entry that can be read in the place of a damaged one, which is set aside: at no moment is there none."""
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
        adds = [_add(look.spec, folder, path, part) for path, part in _files_of(look, told, rows)]
        info["operationMetrics"] = {"num_added_files": len(adds), "num_added_rows": rows.height}
        info |= ledger_of(rows, told.batch_id).metadata()
        markers = {LANE: log.lane(version) + 1, f"{BATCH_MARKER}{told.batch_id}": 1}
        now = int(time.time() * 1000)
        actions = [{"add": each} for each in adds]
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
    else:  # whoever was faster committed something else
        try:
            os.link(draft, entry)
        except FileExistsError:
            raise PermanentError(f"{entry} was committed meanwhile: stop what writes to the lake, and repair it again.") from None
        finally:
            draft.unlink()
    sync_folder(log_of(folder))


def _rows(look: _Look, batch: Recovered) -> pl.DataFrame:
    """The rows of a batch to take, with the table's columns and ``file``."""
    wanted = look.lacking.filter(pl.col("batch_id") == batch.batch_id)
    parts = []
    for name in batch.files:
        rows = pl.read_parquet(look.log.folder / name, glob=False, hive_partitioning=False)
        ids = wanted.filter(pl.col("file") == name).select("message_id")
        parts.append(
            rows.join(ids, on="message_id", how="semi")
            .unique("message_id", keep="first", maintain_order=True)
            .with_columns(file=pl.lit(name))
        )
    rows = pl.concat(parts, how="diagonal")
    day = pl.col("file").str.extract(r"received_date=(\d{4}-\d{2}-\d{2})").str.to_date()
    schema = look.spec.schema
    missing = [pl.lit(None, dtype).alias(name) for name, dtype in schema.items() if name not in rows.columns and name != "received_date"]
    return rows.with_columns(day.alias("received_date"), *missing).select(
        *(pl.col(name).cast(dtype) for name, dtype in schema.items()), "file"
    )


def _files_of(look: _Look, batch: Recovered, rows: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame]]:
    """The data files of a batch: those there are where all their rows are to be taken, else new ones of those rows."""
    for name in batch.files:
        part = rows.filter(pl.col("file") == name)
        if part.height == pl.scan_parquet(look.log.folder / name, glob=False, hive_partitioning=False).select(pl.len()).collect().item():
            yield name, part
            continue
        made = Path(name).parent / f"part-{uuid.uuid4()}-repaired.zstd.parquet"
        part.drop("file", *look.spec.partition_by).write_parquet(look.log.folder / made, compression="zstd")
        sync_file(look.log.folder / made)
        yield str(made), part


def _add(spec: TableSpec, folder: Path, path: str, rows: pl.DataFrame) -> dict[str, Any]:
    """The action that adds a data file."""
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
    """A value as statistics in a log have it."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return value.isoformat() if isinstance(value, date) else value


def _commit_anew(lake: Lake, look: _Look, batch: Recovered) -> None:
    """Commit a batch as any is committed. Where a readable commit has its account, only rows of it were lost, and they bring no account again."""
    rows = _rows(look, batch).drop("file")
    if append_batch(lake, rows, batch.batch_id, table=look.spec).new == rows.height:
        return

    def decide(handle: DeltaTable) -> Landed[None] | Append[None]:
        files = all_files(handle)
        held = (
            lake.scan(files, handle).select("message_id").join(rows.lazy().select("message_id"), on="message_id", how="semi").collect()
            if files
            else None
        )
        left = rows if held is None else rows.join(held, on="message_id", how="anti")
        if left.is_empty():
            return Landed(None)
        return Append(left, (Transaction(LANE, (handle.transaction_version(LANE) or 0) + 1),), None, {_REPAIRED: "{}"})

    commit_once(f"bronze/{look.spec.name} in the lake {lake.uri}", lambda: lake.ensure(look.spec), decide)
