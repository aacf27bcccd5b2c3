"""Which runs live: by their heartbeats and their age, for a status alone stays STARTED for ever where a host died or a command was killed.

The sensors and the command line look before they decide what is under way. A run of ours whose heart stopped is ended as failed, which Dagster's
retries and our sensors go on from, and its places in pools are given back, those too that a run left that ended by itself. Runs that never had
a heart, of other people's jobs or an older version, are left alone, unless they block a pool of ours for an hour.

A live run that is ended by mistake, because it was stopped for longer than all this takes, loses nothing: it goes on, and Delta's
commits let two writers be at work. A run that starts or hands over its work is judged by Dagster's own monitoring.
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
from mg_lakehouse.dagster.run_heartbeats import BEATS_FROM_THE_START, SILENT_BEATS, Heart, Hearts

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
"""In which a worker starts, however slow its launcher is. Dagster's own monitoring, where it is on, is shorter."""

_FIRST_BEAT: Final = timedelta(seconds=60)
_BLOCKED: Final = timedelta(hours=1)
_GRACE: Final = timedelta(seconds=10)
"""After a run's end in which processes of its steps may still be at work."""


class Verdict(Enum):
    """What is to be done about a run."""

    LIVES = "lives"
    ASK = "ask"
    ASKED = "asked"
    WITHDRAW = "withdraw"
    DEAD = "dead"


def judge(run: dg.DagsterRun, heart: Heart | None, now: datetime, *, created: datetime, blocks: bool) -> Verdict:
    """Judge an unfinished run.

    Args:
        run: it.
        heart: its heart, where it has one.
        now: by the clock that wrote the heart.
        created: when it was.
        blocks: whether it holds a place in a pool of ours, or is the next to get one.
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


def _asked(heart: Heart | None, now: datetime, *, silent: bool, answer: timedelta) -> Verdict:
    """``answer`` is how long a silent run that was asked has to answer."""
    asked = None if heart is None else heart.asked
    if not silent:
        return Verdict.LIVES if asked is None else Verdict.WITHDRAW
    if asked is None:
        return Verdict.ASK
    return Verdict.DEAD if now - asked > answer else Verdict.ASKED


def end_dead_runs(instance: dg.DagsterInstance, names: Names) -> list[str]:
    """End the runs that are dead and free what they hold. What was done, in sentences.

    It may be called by any number of processes at once: the removal of a heart tells one of them that the run is its to end.
    """
    hearts = Hearts.of(instance)
    if hearts is None:
        return []
    now, known, crowd = hearts.now(), hearts.all(), places(instance, names)
    records = {record.dagster_run.run_id: record for record in instance.get_run_records(dg.RunsFilter(statuses=UNFINISHED))}
    said = [
        sentence
        for run_id, record in records.items()
        if (sentence := _act(instance, hearts, record, known.get(run_id), now, blocks=run_id in crowd.blocking)) is not None
    ]
    # The hearts were read before the runs: what is not among these has ended.
    for run_id in set(known) - set(records):
        hearts.remove(known[run_id])
    return said + list(_free_left(instance, crowd.all - set(records)))


def _act(
    instance: dg.DagsterInstance, hearts: Hearts, record: dg.RunRecord, heart: Heart | None, now: datetime, *, blocks: bool
) -> str | None:
    run = record.dagster_run
    verdict = judge(run, heart, now, created=record.create_timestamp, blocks=blocks)
    if verdict is Verdict.ASK:
        hearts.put(heart, replace(heart or Heart(run.run_id, 0.0), asked=now))
    elif verdict is Verdict.WITHDRAW and heart is not None:
        hearts.put(heart, replace(heart, asked=None))
    elif verdict is Verdict.DEAD and (heart is None or hearts.remove(heart)):
        return _end(instance, run, heart, now)
    return None


def _end(instance: dg.DagsterInstance, run: dg.DagsterRun, heart: Heart | None, now: datetime) -> str | None:
    current = instance.get_run_by_id(run.run_id)
    if current is None or current.is_finished:
        return None
    cause = (
        f"whose heart stopped {ago(now - heart.beat)} ago"
        if heart is not None and heart.beat is not None
        else "which never came to its first step"
    )
    said = f"{described(run)}, {cause}, gives no sign of life and was ended."
    if current.status == dg.DagsterRunStatus.CANCELING:
        instance.report_run_canceled(current, said)
    else:
        instance.report_run_failed(current, said)
    instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
    return said


def _free_left(instance: dg.DagsterInstance, run_ids: Collection[str]) -> Iterator[str]:
    """Free the places of runs that have ended or are deleted: Dagster does it where it is told to, and leaves them for ever where it is not."""
    if not run_ids:
        return
    records = {record.dagster_run.run_id: record for record in instance.get_run_records(dg.RunsFilter(run_ids=list(run_ids)))}
    for run_id in run_ids:
        record = records.get(run_id)
        if record is not None and not _ended_long_ago(record):
            continue
        instance.event_log_storage.free_concurrency_slots_for_run(run_id)
        who = f"Run {run_id[:8]}, which is deleted," if record is None else f"{described(record.dagster_run)}, which has ended,"
        yield f"{who} still held a place in a pool: it is free now."


def _ended_long_ago(record: dg.RunRecord) -> bool:
    if not record.dagster_run.is_finished:
        return False
    return record.end_time is None or datetime.now(UTC).timestamp() - record.end_time > _GRACE.total_seconds()


def under_way(instance: dg.DagsterInstance, job: str) -> dg.RunRecord | None:
    """The newest unfinished run of a job. Ask behind :func:`end_dead_runs`: then it lives, or is about to be asked."""
    records = instance.get_run_records(dg.RunsFilter(job_name=job, statuses=UNFINISHED), limit=1)
    return records[0] if records else None


def missing_monitoring(instance: dg.DagsterInstance) -> str | None:
    """What the instance's ``dagster.yaml`` lacks for a place in a pool to be given back by Dagster itself, in a sentence."""
    settings: Mapping[str, object] = instance.run_monitoring_settings or {}
    if settings.get("enabled") and settings.get("free_slots_after_run_end_seconds"):
        return None
    return (
        "This Dagster instance never frees the places that a killed run held in pools: put `run_monitoring: {enabled: true, "
        "free_slots_after_run_end_seconds: 10, poll_interval_seconds: 10}` into its dagster.yaml, as in the one of mg_lakehouse."
    )
