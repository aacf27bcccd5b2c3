"""Appends batches to the bronze tables: messages of the queue and bundles of files, at most one row per message id.

A batch has an id that is fixed before the first try. Its commit sets the marker ``batch:<id>``, so a later try knows
that an earlier one was committed. It also moves the fencing counter by one, which makes two committers safe: the one
that read the table before the other committed is refused and reads it again.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime
from typing import Any, Final, NamedTuple, Protocol, TypeVar

import polars as pl
from deltalake import DeltaTable, Transaction

from mg_lakehouse.bronze.tables import BRONZE_SCHEMA, EVENT_FEED
from mg_lakehouse.lake.commit import AlreadyCommitted, Append, commit_once
from mg_lakehouse.lake.commit_log import app_version
from mg_lakehouse.lake.file_stats import all_files, files_between
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.lake.ledger import BatchLedger, hours_of, ids_digest
from mg_lakehouse.lake.tables import TableSpec
from mg_lakehouse.settings import Settings

__all__ = ["BATCH_MARKER", "LANE", "BatchReceipt", "Uncommitted", "append_batch", "bundle_rows", "in_batches", "ledger_of"]

LANE: Final = "lane"
"""App transaction, the fencing counter: the number of batches committed."""

BATCH_MARKER: Final = "batch:"
"""App transaction, followed by the batch's id: the batch was committed."""


class BatchReceipt(NamedTuple):
    """The result of a batch: the ids of the messages that it ``added``, and the number of messages that bronze had ``already``."""

    added: AbstractSet[str]
    already: int

    @property
    def new(self) -> int:
        """The number of messages added."""
        return len(self.added)


class Uncommitted(NamedTuple):
    """Events since the last commit that no ledger has yet: deliveries without a new message, and failed deletes.

    ``least_margin_seconds`` is the visibility left at the tightest delete.
    """

    repeated: int = 0
    already: int = 0
    delete_failures: int = 0
    least_margin_seconds: float | None = None


_NOTHING: Final = Uncommitted()


class _HasBody(Protocol):
    @property
    def body(self) -> str: ...


Bundle = TypeVar("Bundle", bound=_HasBody)


def in_batches(bundles: Iterable[Bundle], settings: Settings) -> Iterator[list[Bundle]]:
    """Yield bundles in batches of a commit's size. A batch is emptied when the next one is requested: memory holds one batch."""
    size = 0
    batch: list[Bundle] = []
    for bundle in bundles:
        batch.append(bundle)
        size += len(bundle.body)
        if len(batch) >= settings.batch_messages or size >= settings.batch_bytes:
            yield batch
            batch.clear()  # the consumer still holds it
            size = 0
    if batch:
        yield batch


def bundle_rows(bundles: Sequence[_HasBody], *, parts: Collection[int], received_at: datetime, batch_id: str) -> pl.DataFrame:
    """Make the common part of bronze rows for bundles of a file: the columns of ``BRONZE_SCHEMA``, and ``part``, the place in the file.

    ``message_id`` and ``sent_at`` are null; the caller sets them.
    """
    # ASCII text, nearly all of it, is not copied.
    bodies = [text if (text := bundle.body).isascii() else text.encode("utf-8", "replace").decode() for bundle in bundles]
    same = {
        "received_at": received_at,
        "receive_count": 1,
        "attributes": "{}",
        "batch_id": batch_id,
        "received_date": received_at.date(),
    }
    columns: dict[str, list[Any]] = {
        "body": bodies,
        "body_sha256": [hashlib.sha256(body.encode()).hexdigest() for body in bodies],
        **{name: [value] * len(bodies) for name, value in same.items()},
    }
    nothing = [None] * len(bodies)
    rows = pl.DataFrame({name: columns.get(name, nothing) for name in BRONZE_SCHEMA}, schema=BRONZE_SCHEMA)
    return rows.with_columns(part=pl.Series(parts, dtype=pl.Int64))


def append_batch(
    lake: Lake, batch: pl.DataFrame, batch_id: str, uncommitted: Uncommitted = _NOTHING, *, table: TableSpec = EVENT_FEED
) -> BatchReceipt:
    """Commit a batch of messages, each message id once.

    Args:
        lake: the lake.
        batch: rows of the table's schema, without duplicate message ids.
        batch_id: id of the batch, the same in each try.
        uncommitted: what the commit's ledger records beside the batch's rows.
        table: the bronze table.

    Returns:
        The receipt. Every message of the batch is now in a committed version of bronze.

    Raises:
        PermanentError, TransientError: the commit is not certain; delete nothing from the queue.
    """
    marker = f"{BATCH_MARKER}{batch_id}"

    def decide(handle: DeltaTable) -> AlreadyCommitted[BatchReceipt] | Append[BatchReceipt]:
        if handle.transaction_version(marker) is not None:
            return AlreadyCommitted(_receipt(batch, _ids_of_batch(lake, handle, batch, batch_id)))
        rows = batch.join(_held(lake, handle, batch), on="message_id", how="anti")
        receipt = _receipt(batch, rows["message_id"])
        if rows.is_empty():
            return AlreadyCommitted(receipt)
        fence = app_version(handle, LANE) or 0
        transactions = (Transaction(LANE, fence + 1), Transaction(marker, 1, last_updated=int(time.time() * 1000)))
        return Append(rows, transactions, receipt, _ledger(rows, receipt, batch_id, uncommitted).metadata())

    return commit_once(f"bronze/{table.name} in the lake {lake.uri}", lambda: lake.ensure(table), decide)


def _held(lake: Lake, handle: DeltaTable, batch: pl.DataFrame) -> pl.DataFrame:
    """Return the message ids of the batch that bronze has.

    A redelivery has the same SentTimestamp, and bundles of a daily file have that of their day. So only files whose range of ``sent_at`` meets the batch's
    are read: the cost follows the batch, not the table. Bundles of loaded files have none, and are searched in all files.
    """
    near = _sent_with(lake, handle, batch)
    if near is None:
        return batch.select("message_id").clear()
    return near.select("message_id").join(batch.lazy().select("message_id"), on="message_id", how="semi").unique().collect()


def _receipt(batch: pl.DataFrame, added: pl.Series) -> BatchReceipt:
    return BatchReceipt(frozenset(added), batch.height - added.len())


def _ids_of_batch(lake: Lake, handle: DeltaTable, batch: pl.DataFrame, batch_id: str) -> pl.Series:
    """Return the message ids that an earlier try of the batch committed."""
    near = _sent_with(lake, handle, batch)
    if near is None:
        return batch["message_id"].clear()
    return near.filter(pl.col("batch_id") == batch_id).select("message_id").collect().to_series()


def _sent_with(lake: Lake, handle: DeltaTable, batch: pl.DataFrame) -> pl.LazyFrame | None:
    """Return bronze's rows of the batch's range of ``sent_at``; ``None`` where no file meets it."""
    first, last = _sent(batch)
    files = all_files(handle) if first is None or last is None else files_between(handle, "sent_at", [(first, last)])
    if not files:
        return None
    rows = lake.scan(files, handle)
    return rows if first is None else rows.filter(pl.col("sent_at").is_between(first, last))


def _sent(rows: pl.DataFrame) -> tuple[datetime | None, datetime | None]:
    """Return the first and the last ``sent_at`` of some rows."""
    first, last = rows.select(first=pl.col("sent_at").min(), last=pl.col("sent_at").max()).row(0)
    return first, last


def ledger_of(rows: pl.DataFrame, batch_id: str) -> BatchLedger:
    """Make the ledger of a batch of which only the rows are known."""
    return _ledger(rows, BatchReceipt(frozenset(rows["message_id"]), 0), batch_id, _NOTHING)


def _ledger(rows: pl.DataFrame, receipt: BatchReceipt, batch_id: str, uncommitted: Uncommitted) -> BatchLedger:
    already = receipt.already + uncommitted.already
    first, last = _sent(rows)
    return BatchLedger(
        batch_id=batch_id,
        received=receipt.new + uncommitted.repeated + already,
        new=receipt.new,
        repeated=uncommitted.repeated,
        already=already,
        delete_failures=uncommitted.delete_failures,
        least_margin_seconds=uncommitted.least_margin_seconds,
        bytes=int(rows["body"].str.len_bytes().sum()),
        first_sent_at="" if first is None else first.isoformat(),
        last_sent_at="" if last is None else last.isoformat(),
        ids=ids_digest(rows["message_id"]),
        hours=hours_of(rows["received_at"]),
    )
