"""Reads the status of the lake and the queue, which ``mg-lakehouse status`` shows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from deltalake import DeltaTable

from mg_lakehouse.audit.rejects import rejected_by_reason
from mg_lakehouse.bronze.tables import BRONZE_TABLES, EVENT_FEED
from mg_lakehouse.errors import LakehouseError
from mg_lakehouse.events.catalogue import SET_ASIDE, silver_tables
from mg_lakehouse.gold.names import gold_models
from mg_lakehouse.gold.pii_key import is_generated
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.lake.ledger import BatchLedger, Posted, posted_batches
from mg_lakehouse.lake.table_stats import TableStats, stats_of_tables
from mg_lakehouse.location import Layer
from mg_lakehouse.maintenance.compaction import small_files
from mg_lakehouse.settings import Settings
from mg_lakehouse.silver.progress import unflattened
from mg_lakehouse.silver.set_aside import SetAside, count_set_aside
from mg_lakehouse.sources.sqs import QueueDepth, open_queue

__all__ = ["LakeStatus", "read_status"]


@dataclass(frozen=True, slots=True)
class LakeStatus:
    """The status. ``queue`` is the depth, a sentence on why it is unknown, or ``None`` if no queue is set."""

    lake: str
    at: datetime
    tables: dict[tuple[Layer, str], TableStats]
    rejected: dict[str, int]
    unflattened_versions: int
    queue: QueueDepth | str | None
    key_is_generated: bool
    set_aside: SetAside
    newest_batch: Posted[BatchLedger] | None = None
    crowded: dict[tuple[Layer, str], int] = field(default_factory=dict)
    """Tables with more small files in a partition than ``MG_SMALL_FILES``, and how many."""


def read_status(settings: Settings) -> LakeStatus:
    """Read the status of the lake and the queue.

    Raises:
        PermanentError, TransientError: the lake cannot be read.
    """
    lake = Lake(settings.lake_uri)
    names: dict[Layer, Sequence[str]] = {"bronze": BRONZE_TABLES, "silver": silver_tables(), "gold": gold_models(settings)}
    handles = {(layer, name): handle for layer in names for name, handle in lake.open_written(layer, names[layer]).items()}
    return LakeStatus(
        lake=lake.root,
        at=datetime.now(UTC),
        tables=stats_of_tables(handles),
        rejected=rejected_by_reason(lake),
        unflattened_versions=sum(unflattened(lake, source) for source in BRONZE_TABLES),
        queue=_queue(settings),
        key_is_generated=is_generated(settings, lake),
        set_aside=count_set_aside(lake, lake.open("silver", SET_ASIDE)),
        newest_batch=_newest_batch(lake),
        crowded=dict(_crowded(settings, handles)),
    )


def _crowded(settings: Settings, handles: Mapping[tuple[Layer, str], DeltaTable]) -> Iterator[tuple[tuple[Layer, str], int]]:
    for name, handle in handles.items():
        if (count := small_files(handle, name[0], settings)) > settings.small_files:
            yield name, count


def _newest_batch(lake: Lake) -> Posted[BatchLedger] | None:
    bronze = lake.open(EVENT_FEED.layer, EVENT_FEED.name)
    return None if bronze is None else next(posted_batches(bronze), None)


def _queue(settings: Settings) -> QueueDepth | str | None:
    if settings.queue_url is None:
        return None
    try:
        return open_queue(settings).depth()
    except LakehouseError as error:
        return str(error)
