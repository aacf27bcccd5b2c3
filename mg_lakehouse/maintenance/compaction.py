"""Compaction: merges a table's many small files into few, with the same rows and no change in the change feed.

delta-rs rewrites and commits with ``dataChange=false``, which does not conflict with appends and is allowed on an append-only table. This
module decides which partitions need it, and how the files are written. :mod:`mg_lakehouse.maintenance.retention` decides what may be deleted
afterwards, and when.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta
from math import ceil
from typing import Any, Final, Literal, NamedTuple

import polars as pl
from deltalake import BloomFilterProperties, ColumnProperties, DeltaTable, WriterProperties
from deltalake.exceptions import CommitFailedError, DeltaError

from mg_lakehouse._util.environment import set_environment
from mg_lakehouse.events.catalogue import REJECTED_ITEMS, UNRECOGNIZED
from mg_lakehouse.lake.commit import NO_HOOKS, replaced_file_bytes
from mg_lakehouse.lake.errors import store_errors
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.lake.scratch import scratch_folder
from mg_lakehouse.location import Layer, address_of
from mg_lakehouse.settings import Settings

__all__ = ["Rewrite", "Rewritten", "planned_rewrites", "rewrite", "small_files"]

_SORTED_BY: Final = "event_at"
_DAY: Final = "partition.received_date"
_SMALL_SHARE: Final = 4
"""A file is small below this fraction of the target. Today's files are compacted up to it: each row is rewritten a few times, not every hour."""

_ROW_GROUP_ROWS: Final = 131_072
_ROW_GROUP_BODIES: Final = 8_192
"""Rows of a group if each holds a text: 131,072 bodies would take gigabytes in the writer and in every reader."""

_FEW: Final = 4
"""Small files that may stay in a closed partition: a straggler after midnight is no reason to rewrite the day."""

_LOOSE: Final = 0.1
"""Share of a closed partition's bytes that may be out of order, for the same reason."""

_LOOKED_INTO: Final = timedelta(days=7)
"""In the week after a day, its only file is read to see whether it is sorted; older files were checked then."""


class Rewrite(NamedTuple):
    """A planned rewrite: merge a partition's small files, or sort all of it. ``partition`` is ``None`` for an unpartitioned table."""

    how: Literal["merge", "sort"]
    partition: date | None
    target_bytes: int


class Rewritten(NamedTuple):
    """The result of a rewrite; ``note`` says what differed from the plan."""

    how: Literal["merge", "sort", "none"]
    note: str = ""


def planned_rewrites(lake: Lake, handle: DeltaTable, layer: Layer, settings: Settings, *, now: datetime, closed: bool) -> list[Rewrite]:
    """Plan the rewrites of the partitions that need one, oldest first.

    Args:
        lake: the lake.
        handle: the table.
        layer: the table's layer.
        settings: target size, and how many small files today's partition may have.
        now: the time; partitions of earlier UTC days are closed.
        closed: whether to plan closed partitions too.
    """
    small_bytes = _small_bytes(handle, layer, settings)
    rewrites: list[Rewrite] = []
    for partition, files in _partitions(handle):
        if partition is None or partition >= now.date():
            if files.filter(pl.col("size_bytes") < small_bytes).height > settings.small_files:
                rewrites.append(Rewrite("merge", partition, small_bytes))
        elif closed and _is_sorted(layer, handle):
            if _out_of_order(lake, handle, files, settings.compacted_file_bytes, look=now.date() - partition <= _LOOKED_INTO):
                rewrites.append(Rewrite("sort", partition, settings.compacted_file_bytes))
        elif closed and _mergeable(files, settings.compacted_file_bytes):
            rewrites.append(Rewrite("merge", partition, settings.compacted_file_bytes))
    return rewrites


def _is_sorted(layer: Layer, handle: DeltaTable) -> bool:
    """Whether a table's closed partitions are sorted by ``event_at``: true for silver tables with small rows.

    Bodies and other long texts stay in order of arrival, which is nearly that of their times: delta-rs needed 9 GB to sort 300,000 bodies of
    26 kB, and failed with less.
    """
    return layer == "silver" and handle.metadata().name not in {UNRECOGNIZED, REJECTED_ITEMS}


def small_files(handle: DeltaTable, layer: Layer, settings: Settings) -> int:
    """Count the small files in the partition that has the most."""
    small = _small_bytes(handle, layer, settings)
    return max((files.filter(pl.col("size_bytes") < small).height for _, files in _partitions(handle)), default=0)


def _small_bytes(handle: DeltaTable, layer: Layer, settings: Settings) -> int:
    """Return the size below which a file of a growing partition is small, and up to which small files are merged.

    A gold file's full size is the one that a refresh writes. Measured against a compacted file, all files of a gold table are small, and were
    merged each hour into files that the next refresh had to rewrite.
    """
    full = settings.compacted_file_bytes
    return (min(full, replaced_file_bytes(handle)) if layer == "gold" else full) // _SMALL_SHARE


def rewrite(handle: DeltaTable, layer: Layer, planned: Rewrite, settings: Settings, what: str) -> Rewritten:
    """Rewrite a partition and commit. If another writer changed the same files, it wins, and the rewrite waits for the next time.

    Args:
        handle: the table; afterwards at a version with the rewrite.
        layer: the table's layer.
        planned: the rewrite.
        settings: the memory for a sort.
        what: the table, for error texts.

    Raises:
        PermanentError: access is refused or the disk is full.
        TransientError: the store did not answer.
    """
    options: dict[str, Any] = {
        "target_size": planned.target_bytes,
        # The pipeline runs at the same time: use one core, and its memory.
        "max_concurrent_tasks": 1,
        "max_spill_size": settings.sort_bytes,
        "writer_properties": _writer(layer, handle),
        "post_commithook_properties": NO_HOOKS,
    }
    if planned.partition is not None:
        options["partition_filters"] = [("received_date", "=", planned.partition.isoformat())]
    with store_errors(what):
        try:
            if planned.how == "sort":
                _sort(handle, options)
            else:
                handle.optimize.compact(**options)
            return Rewritten(planned.how)
        except CommitFailedError:
            handle.update_incremental()
            return Rewritten("none", note="another writer changed the same files: postponed to the next maintenance")
        except DeltaError as error:
            if planned.how != "sort" or "Resources exhausted" not in str(error):
                raise
        handle.optimize.compact(**options)
        return Rewritten("merge", f"{planned.partition} is too large to sort within MG_SORT_BYTES: it was merged unsorted")


def _sort(handle: DeltaTable, options: dict[str, Any]) -> None:
    """Sort with what does not fit into memory in a folder of ours: delta-rs (1.6.6) spills to ``TMPDIR``, and a killed one would leave the rows there."""
    with scratch_folder("sort") as folder, set_environment({"TMPDIR": str(folder.path)}):
        handle.optimize.z_order([_SORTED_BY], **options)


def _writer(layer: Layer, handle: DeltaTable) -> WriterProperties:
    names = {field.name for field in handle.schema().fields}
    columns = {"body": ColumnProperties(dictionary_enabled=False)} if "body" in names else {}
    if "request_id" in names:
        # A job's id can lie anywhere between a file's least and greatest id. The filter takes 0.6 to 4 kB a row group. A query for one absent
        # job in 8 M rows went from 42 to 17 ms in DuckDB, which uses the filter for one key but not for a list.
        columns["request_id"] = ColumnProperties(bloom_filter_properties=BloomFilterProperties(set_bloom_filter_enabled=True, fpp=0.01))
    long = layer == "bronze" or handle.metadata().name in {UNRECOGNIZED, REJECTED_ITEMS}
    return WriterProperties(
        compression="ZSTD", max_row_group_size=_ROW_GROUP_BODIES if long else _ROW_GROUP_ROWS, column_properties=columns or None
    )


def _partitions(handle: DeltaTable) -> Iterator[tuple[date | None, pl.DataFrame]]:
    files = pl.DataFrame(handle.get_add_actions(flatten=True))
    if files.is_empty():
        return
    if _DAY not in files.columns:
        yield None, files
        return
    for (day,), files_of_day in files.sort(_DAY).group_by(_DAY, maintain_order=True):
        assert isinstance(day, date)
        yield day, files_of_day


def _mergeable(files: pl.DataFrame, target: int) -> bool:
    small = files.filter(pl.col("size_bytes") < target // 2).height
    return small > 1 and (small > _FEW or files["size_bytes"].sum() <= target)


def _out_of_order(lake: Lake, handle: DeltaTable, files: pl.DataFrame, target: int, *, look: bool) -> bool:
    """Whether a partition differs from a sorted one: few files whose times do not overlap."""
    if files.height == 1:
        return look and files["num_records"].item() > _ROW_GROUP_ROWS and not _in_order_within(lake, handle, files)
    size = int(files["size_bytes"].sum())
    if files.height > 2 * ceil(size / target) + _FEW:
        return True
    spans = files.select(f"min.{_SORTED_BY}", f"max.{_SORTED_BY}", "size_bytes").sort("size_bytes", descending=True).rows()
    return _loose_bytes(spans) > _LOOSE * size


def _loose_bytes(spans: Sequence[tuple[datetime | None, datetime | None, int]]) -> int:
    """Sum the bytes of files that overlap a larger one, or whose times the log does not say."""
    kept: list[tuple[datetime, datetime]] = []
    loose = 0
    for low, high, size in spans:
        if low is None or high is None or any(low < other_high and other_low < high for other_low, other_high in kept):
            loose += size
        else:
            kept.append((low, high))
    return loose


def _in_order_within(lake: Lake, handle: DeltaTable, files: pl.DataFrame) -> bool:
    address = f"{address_of(handle.table_uri).rstrip('/')}/{files['path'].item()}"
    return bool(lake.scan([address], handle).select(pl.col(_SORTED_BY).is_sorted()).collect().item())
