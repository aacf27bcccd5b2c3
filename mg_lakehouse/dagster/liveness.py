"""Decides which runs are alive, by heartbeat and age: if a host died or a command was killed, the status alone stays STARTED for ever.

The sensors and the command line check this before they decide what is under way. A run of ours whose heart stopped is ended as failed, so
Dagster's retries and our sensors take over, and its slots in pools are freed. Slots that a finished run left behind are freed too. Runs that
never had a heart, of other projects' jobs or an older version, are left alone, unless they block a pool of ours for an hour.

A live run that is ended by mistake, because it was paused for longer than these timeouts, loses nothing: it goes on, and Delta's commits
allow two writers. Dagster's own monitoring judges a run that starts or whose work moves to other processes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Final

import dagster as dg

from mg_lakehouse.dagster.names import Names
from mg_lakehouse.dagster.pools import ago, described, places
from mg_lakehouse.dagster.run_heartbeats import BEATS_FROM_THE_START, SILENT_BEATS, RunHeartbeat, RunHeartbeats

__all__ = ["UNFINISHED", "Verdict", "end_dead_runs", "judge", "missing_monitoring", "under_way"]

UNFINISHED: Final = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
_AT_WORK: Final = frozenset({dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING})
_TO_START: Final = frozenset({dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING})

_ANSWER_BEATS: Final = 3
_START: Final = timedelta(minutes=10)
"""Time for a worker to start, however slow its launcher is. Dagster's own monitoring, if on, is stricter."""

_FIRST_BEAT: Final = timedelta(seconds=60)
_BLOCKED: Final = timedelta(hours=1)
_GRACE: Final = timedelta(seconds=10)
"""Time after a run's end in which processes of its steps may still work."""


class Verdict(Enum):
    """What to do about a run."""

    LIVES = "lives"
    ASK = "ask"
    ASKED = "asked"
    WITHDRAW = "withdraw"
    DEAD = "dead"


def judge(run: dg.DagsterRun, heart: RunHeartbeat | None, now: datetime, *, created: datetime, blocks: bool) -> Verdict:
    """Judge an unfinished run.

    Args:
        run: the run.
        heart: its heart, if it has one.
        now: the time, by the clock that wrote the heart.
        created: when the run was created.
        blocks: whether it holds a slot in a pool of ours, or gets the next one.
    """
    tagged = BEATS_FROM_THE_START in run.tags
    if run.status in _TO_START:
        return Verdict.DEAD if tagged and now - created > _START else Verdict.LIVES
    if run.status not in _AT_WORK:
        return Verdict.LIVES
    if heart is not None and heart.beat is not None and not heart.resting:
        every = timedelta(seconds=heart.every)
        return _asked(heart, now, silent=now - heart.beat > SILENT_BEATS * every, answer=_ANSWER_BEATS * every)
    if tagged:
        return _asked(heart, now, silent=True, answer=_FIRST_BEAT)
    return _asked(heart, now, silent=blocks, answer=_BLOCKED)


def _asked(heart: RunHeartbeat | None, now: datetime, *, silent: bool, answer: timedelta) -> Verdict:
    """Judge a run by its silence. ``answer`` is how long a silent run has to answer once it was asked."""
    asked = None if heart is None else heart.asked
    if not silent:
        return Verdict.LIVES if asked is None else Verdict.WITHDRAW
    if asked is None:
        return Verdict.ASK
    return Verdict.DEAD if now - asked > answer else Verdict.ASKED


def end_dead_runs(instance: dg.DagsterInstance, names: Names) -> list[str]:
    """End dead runs and free their slots. Return a sentence for each.

    Any number of processes may call it at once: whoever removes a run's heart ends the run.
    """
    hearts = RunHeartbeats.of_instance(instance)
    if hearts is None:
        return []
    now, known, crowd = hearts.now(), hearts.all(), places(instance, names)
    records = {record.dagster_run.run_id: record for record in instance.get_run_records(dg.RunsFilter(statuses=UNFINISHED))}
    sentences = [
        sentence
        for run_id, record in records.items()
        if (sentence := _act(instance, hearts, record, known.get(run_id), now, blocks=run_id in crowd.blocking)) is not None
    ]
    # The hearts were read before the runs: a heart whose run is not among these belongs to a run that has ended.
    for run_id in set(known) - set(records):
        hearts.remove(known[run_id])
    return sentences + list(_free_left(instance, crowd.all - set(records)))


def _act(
    instance: dg.DagsterInstance, hearts: RunHeartbeats, record: dg.RunRecord, heart: RunHeartbeat | None, now: datetime, *, blocks: bool
) -> str | None:
    run = record.dagster_run
    verdict = judge(run, heart, now, created=record.create_timestamp, blocks=blocks)
    if verdict is Verdict.ASK:
        hearts.put(heart, replace(heart or RunHeartbeat(run.run_id, 0.0), asked=now))
    elif verdict is Verdict.WITHDRAW and heart is not None:
        hearts.put(heart, replace(heart, asked=None))
    elif verdict is Verdict.DEAD and (heart is None or hearts.remove(heart)):
        return _end(instance, run, heart, now)
    return None


def _end(instance: dg.DagsterInstance, run: dg.DagsterRun, heart: RunHeartbeat | None, now: datetime) -> str | None:
    current = instance.get_run_by_id(run.run_id)
    if current is None or current.is_finished:
        return None
    cause = (
        f"whose heart stopped {ago(now - heart.beat)} ago"
        if heart is not None and heart.beat is not None
        else "which never reached its first step"
    )
    message = f"{described(run)}, {cause}, gives no sign of life and was ended."
    if current.status == dg.DagsterRunStatus.CANCELING:
        instance.report_run_canceled(current, message)
    else:
        instance.report_run_failed(current, message)
    instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
    return message


def _free_left(instance: dg.DagsterInstance, run_ids: Collection[str]) -> Iterator[str]:
    """Free the slots of runs that have ended or are deleted: Dagster does so only if configured to, else they stay taken for ever."""
    if not run_ids:
        return
    records = {record.dagster_run.run_id: record for record in instance.get_run_records(dg.RunsFilter(run_ids=list(run_ids)))}
    for run_id in run_ids:
        record = records.get(run_id)
        if record is not None and not _ended_long_ago(record):
            continue
        instance.event_log_storage.free_concurrency_slots_for_run(run_id)
        who = f"Run {run_id[:8]}, which is deleted," if record is None else f"{described(record.dagster_run)}, which has ended,"
        yield f"{who} still held a slot in a pool: it is free now."


def _ended_long_ago(record: dg.RunRecord) -> bool:
    if not record.dagster_run.is_finished:
        return False
    return record.end_time is None or datetime.now(UTC).timestamp() - record.end_time > _GRACE.total_seconds()


def under_way(instance: dg.DagsterInstance, job: str) -> dg.RunRecord | None:
    """Return the newest unfinished run of a job. Call it after :func:`end_dead_runs`: then the run is alive, or is about to be asked."""
    records = instance.get_run_records(dg.RunsFilter(job_name=job, statuses=UNFINISHED), limit=1)
    return records[0] if records else None


def missing_monitoring(instance: dg.DagsterInstance) -> str | None:
    """Return a sentence about what ``dagster.yaml`` lacks for Dagster itself to free a slot in a pool; ``None`` if nothing."""
    settings: Mapping[str, object] = instance.run_monitoring_settings or {}
    if settings.get("enabled") and settings.get("free_slots_after_run_end_seconds"):
        return None
    return (
        "This Dagster instance never frees a killed run's slots in pools: add `run_monitoring: {enabled: true, "
        "free_slots_after_run_end_seconds: 10, poll_interval_seconds: 10}` to its dagster.yaml, as in that of mg_lakehouse."
    )
