"""The exactly-once commit: one change of a Delta table, whatever crashes or races.

``write_deltalake`` alone is at-least-once in disguise: an exception does not mean "not committed" (the
answer may be lost after the log entry landed), and two writers that both looked first both append. Three
rules make it exact, and this module is the only place that holds them:

* open the table, look, and write **through that same handle**. ``Transaction(app_id, version)`` is a
  compare-and-swap only on the handle whose ``transaction_version`` was read; with a URI, or a handle
  refreshed in between, delta-rs accepts a repeated or lower version (measured with 1.6.6);
* on any exception wait and look again. What the table says decides, never the exception;
* the commit marks what it contains, so that the look can tell whether an earlier try landed.

What it says is committed is on disk too (:mod:`mg_lakehouse.lake.durable`).

What is written and how a table tells that it has it already is decided by the callers: :mod:`mg_lakehouse.bronze.append` and
:mod:`mg_lakehouse.silver.update` append, :mod:`mg_lakehouse.gold.commit` replaces.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

import polars as pl
import pyarrow as pa
from deltalake import (
    ColumnProperties,
    CommitProperties,
    DeltaTable,
    Transaction,
    WriterProperties,
    write_deltalake,
)

from mg_lakehouse._util.backoff import backoff_seconds
from mg_lakehouse.errors import LakehouseError, PermanentError, TransientError
from mg_lakehouse.lake.durable import make_durable, sync_checkpoints
from mg_lakehouse.lake.errors import store_error, store_errors
from mg_lakehouse.lake.failpoints import Failpoint, reached
from mg_lakehouse.lake.lake import NO_HOOKS

__all__ = ["NO_HOOKS", "Append", "Landed", "OvertakenError", "Replace", "commit_once", "replaced_file_bytes"]

Result = TypeVar("Result")

_ATTEMPTS: Final = 8
_FIRST_WAIT_SECONDS: Final = 0.05
_LONGEST_WAIT_SECONDS: Final = 5.0
_PATIENCE_SECONDS: Final = 30.0

# Of what hardly repeats a dictionary saves nothing: it doubles the memory of a write of bodies, and without one for ids 84,000 deliveries took 8 % less time and space.
_WRITER: Final = WriterProperties(
    compression="ZSTD",
    column_properties={name: ColumnProperties(dictionary_enabled=False) for name in ("body", "activity_id", "recipient_id", "event_at")},
)

_CHECKPOINT_EVERY: Final = 50

_REPLACED_FILE_BYTES: Final = 8 * 2**20
"""A replacement rewrites whole files, so they stay small: 20 jobs of 10 M rows cost it 5.7 s of CPU with files of 32 MiB and 3.5 s with these."""

_REPLACED_FILE_ROWS: Final = 131_072
"""Where rows are small, 8 MiB are all of a table: 20 jobs of 1.8 M rows of 3 bytes cost 1.3 s of CPU in one file and 0.2 s in files of so many rows."""

_LEAST_FILE_BYTES: Final = 512 * 2**10
"""Below, delta-rs (1.6.6) ends files early, for it counts pages before they are compressed: of 6 bytes a row 10,000 to a file of 256 KiB."""

# What is rewritten again and again is compressed lightly: at level 3, and with dictionaries of keys that hardly repeat, 500,000 violations took
# 1.0 s of CPU and 34.9 MB, and like this 0.43 s and 35.5 MB; messages 1.3 s and 33.9 MB, and 1.1 s and 36.5 MB.
_REPLACER: Final = WriterProperties(
    compression="ZSTD",
    compression_level=1,
    max_row_group_size=_REPLACED_FILE_ROWS,
    column_properties={name: ColumnProperties(dictionary_enabled=False) for name in ("address", "address_hash", "recipient_key")},
)


class OvertakenError(TransientError):
    """What was to be written was made from a state that the table is no longer in: trying again would write what is out of date."""


@dataclass(frozen=True, slots=True)
class Landed(Generic[Result]):
    """The table has it already, or there is nothing to write."""

    result: Result


@dataclass(frozen=True, slots=True)
class Append(Generic[Result]):
    """Append these rows with these transactions; ``metadata`` goes into the commit for whoever audits it."""

    rows: pl.DataFrame
    transactions: Sequence[Transaction]
    result: Result
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Replace(Generic[Result]):
    """Replace the rows that ``predicate`` selects, or all where it is ``None``, by these, with these transactions.

    ``rows`` gives them anew for each try, for a stream can be read once. ``new_schema`` has the rows' columns take the place of the table's.
    With ``others_may_commit`` the commit may land behind others that did not touch the rows: of a condition on the partition's column delta-rs
    (1.6.6) knows that, appends to the partition and compactions of it included, which a test holds.
    """

    rows: Callable[[], pa.RecordBatchReader]
    predicate: str | None
    new_schema: bool
    transactions: Sequence[Transaction]
    result: Result
    metadata: Mapping[str, str] = field(default_factory=dict)
    others_may_commit: bool = False


Decision = Landed[Result] | Append[Result] | Replace[Result]


def commit_once(what: str, open_table: Callable[[], DeltaTable], decide: Callable[[DeltaTable], Decision[Result]]) -> Result:
    """Open, look, write through the same handle, and on any exception look again.

    Args:
        what: the table, for an error's sentence.
        open_table: opens the table at its newest version.
        decide: looks at the handle and says what is left to write. Called anew for each try.

    Raises:
        PermanentError: access is refused or the disk is full, and the table says that nothing landed. Or it landed and could not be synced.
        OvertakenError: ``decide`` says so.
        TransientError: no try landed, of several in about half a minute; a store that fails slowly makes the last one longer.
    """
    failure: Exception | None = None
    deadline = time.monotonic() + _PATIENCE_SECONDS
    for attempt in range(_ATTEMPTS):
        if attempt:
            if time.monotonic() > deadline:
                break
            _wait(attempt)
        try:
            with store_errors(what):
                handle = open_table()
                decision = decide(handle)
        except OvertakenError:
            raise
        except TransientError as error:  # an answer that broke off is no reason to hand a whole batch back
            failure = error
            continue
        if isinstance(decision, Landed):
            make_durable(handle)  # whoever committed it may not have come to that
            return decision.result
        if failure is not None and isinstance(sorted_out := _sorted(failure, what), PermanentError):
            raise sorted_out from failure
        try:
            reached(Failpoint.COMMIT_LOOKED, what)
            _append(handle, decision) if isinstance(decision, Append) else _replace(handle, decision)
            reached(Failpoint.COMMIT_LANDED, what)
        except Exception as error:  # noqa: BLE001  whatever it is, the table decides
            failure = error
            continue
        # Not tried again: a second sync of a file succeeds though the first one lost its content.
        make_durable(handle)
        checkpoint(handle)
        return decision.result
    assert failure is not None
    raise _sorted(failure, what) from failure


def _sorted(failure: Exception, what: str) -> LakehouseError:
    return failure if isinstance(failure, LakehouseError) else store_error(failure, what)


def _wait(attempt: int) -> None:
    time.sleep(backoff_seconds(attempt, first=_FIRST_WAIT_SECONDS, longest=_LONGEST_WAIT_SECONDS))


def _append(handle: DeltaTable, append: Append[Any]) -> None:
    write_deltalake(
        handle,
        # string_view, Polars' own, is not read by every engine.
        append.rows.to_arrow(compat_level=pl.CompatLevel.oldest()),
        mode="append",
        writer_properties=_WRITER,
        commit_properties=_properties(append),
        post_commithook_properties=NO_HOOKS,
    )


def _replace(handle: DeltaTable, replacement: Replace[Any]) -> None:
    write_deltalake(
        handle,
        replacement.rows(),
        mode="overwrite",
        predicate=replacement.predicate,
        schema_mode="overwrite" if replacement.new_schema else None,
        target_file_size=replaced_file_bytes(handle),
        writer_properties=_REPLACER,
        # To the very next version or not at all. Left to itself, delta-rs (1.6.6) commits a whole overwrite behind a compaction that it
        # did not see: the old rows stay, in the compacted file, beside the new ones.
        commit_properties=_properties(replacement, max_commit_retries=None if replacement.others_may_commit else 0),
        post_commithook_properties=NO_HOOKS,
    )


def replaced_file_bytes(handle: DeltaTable) -> int:
    """Bytes that a file of a table is to have whose rows are replaced: about 131,072 rows of those that it has, within 512 KiB and 8 MiB.

    A table without rows does not tell how large they are: its files get 8 MiB, and what is replaced in them later is cut anew.
    """
    files = pl.DataFrame(handle.get_add_actions(flatten=True))
    rows, size = int(files["num_records"].sum()), int(files["size_bytes"].sum())
    of_rows = size * _REPLACED_FILE_ROWS // rows if rows else _REPLACED_FILE_BYTES
    return min(_REPLACED_FILE_BYTES, max(_LEAST_FILE_BYTES, of_rows))


def _properties(decision: Append[Any] | Replace[Any], *, max_commit_retries: int | None = None) -> CommitProperties:
    return CommitProperties(
        custom_metadata=dict(decision.metadata), app_transactions=list(decision.transactions), max_commit_retries=max_commit_retries
    )


def checkpoint(handle: DeltaTable) -> None:
    """Write a checkpoint now and then, so that opening the table stays cheap. A failure is of no consequence."""
    if handle.version() % _CHECKPOINT_EVERY:
        return
    with contextlib.suppress(Exception):  # the next one will do
        handle.create_checkpoint()
        sync_checkpoints(handle)
