"""Since when commits may be in no materialization: a step that is tried again, or a run after one that failed, reports what was committed before it.

An earlier try may have failed or been killed between its commits and its report. The next one finds them done, and would tell of zero rows.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

import dagster as dg

__all__ = ["unreported_since"]

_LOOKED_AT: Final = 20
"""Failed runs in a row. After as many, somebody looks at them."""

_FAILED: Final = (dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)


def unreported_since(context: dg.AssetExecutionContext, key: dg.AssetKey) -> datetime | None:
    """Return the start of the first try since the asset's last materialization; ``None`` if this is the first.

    That is this run's, where a step is tried again, or that of a failed run before it. An ephemeral instance knows no other run.
    """
    instance = context.instance
    last = instance.get_latest_materialization_event(key)
    after = None if last is None else datetime.fromtimestamp(last.timestamp, UTC)
    failed = instance.get_run_records(dg.RunsFilter(statuses=list(_FAILED), created_after=after), limit=_LOOKED_AT)
    own = instance.get_run_record_by_id(context.run.run_id) if context.retry_number else None
    starts = [record.start_time for record in (*failed, *([] if own is None else [own])) if record.start_time is not None]
    return datetime.fromtimestamp(min(starts), UTC) if starts else None
