"""Runs one pass through Dagster in this process: drain, flatten, build gold, and report the result.

The command line and the demo run exactly the jobs that the sensor and the automation start: there is one way through the pipeline.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import dagster as dg
from sqlalchemy.exc import SQLAlchemyError

from mg_lakehouse._util.progress import remark
from mg_lakehouse.bronze.tables import EVENT_FEED
from mg_lakehouse.dagster.assets.event_feed import DrainConfig
from mg_lakehouse.dagster.assets.silver import only_new
from mg_lakehouse.dagster.build import build_definitions
from mg_lakehouse.dagster.interrupts import interrupt_as_error
from mg_lakehouse.dagster.jobs import FLATTEN_JOB, GOLD_JOB, HOURLY_BALANCE_JOB, INGEST_JOB
from mg_lakehouse.dagster.liveness import missing_monitoring
from mg_lakehouse.dagster.names import Names
from mg_lakehouse.dagster.partitions import today
from mg_lakehouse.dagster.resources import shared_lake
from mg_lakehouse.dagster.waiting import Attendant, attended
from mg_lakehouse.errors import ConfigurationError, PermanentError
from mg_lakehouse.gold.pii_key import pii_key
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.lake.scratch import scratch_folder
from mg_lakehouse.settings import Settings
from mg_lakehouse.sources.sqs import open_queue

__all__ = ["WAIT_SECONDS", "PassResult", "flatten_and_build", "run_once"]

WAIT_SECONDS: Final = 300.0
"""Wait for a live run in a pool. A cron line slower than its period then ends with an error and does not pile up."""

_QUIET: Final = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dataclass(frozen=True, slots=True)
class PassResult:
    """The result of a pass. ``failures`` are sentences; without any, the pass succeeded. ``alarms`` are failures that stop nothing: gold is built.

    ``metadata`` has the numbers of each materialized asset, by layer and table, such as ``bronze/event_feed``.
    """

    failures: tuple[str, ...] = ()
    metadata: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    alarms: tuple[str, ...] = ()

    @property
    def succeeded(self) -> bool:
        """Whether everything succeeded."""
        return not self.failures


def run_once(
    settings: Settings, *, max_messages: int | None = None, max_seconds: float | None = None, wait_seconds: float = WAIT_SECONDS
) -> PassResult:
    """Drain the queue until it is empty or the budget is spent, flatten, and build gold.

    Gold is not built if the ingest or one of its blocking checks failed, or the last hours do not balance. If another run holds a slot in a
    pool of the instance, the pass waits for it, ``wait_seconds`` at most.

    Raises:
        PermanentError, TransientError: the queue or the lake is unreachable, or the settings are invalid; nothing was started. Or another
            live run held a pool for too long.
        InterruptedRunError: SIGTERM or Ctrl-C stopped the run.
    """
    with interrupt_as_error():
        # Checked before anything starts: a wrong address costs a second and gives one sentence.
        open_queue(settings).depth()
        lake = shared_lake(settings.lake_uri)
        lake.open(EVENT_FEED.layer, EVENT_FEED.name)
        _require_key(settings, lake)
        names = Names(settings.feed)
        budget = DrainConfig(max_messages=max_messages, max_seconds=max_seconds, until_empty=True)
        ops = {names.event_feed.to_python_identifier(): budget, **only_new(names)}
        with _instance() as instance:
            runner = _Runner(names, build_definitions(settings), instance, wait_seconds)
            return runner.and_gold(runner.run(INGEST_JOB, partition_key=today(), ops=ops))


def flatten_and_build(settings: Settings, *, wait_seconds: float = WAIT_SECONDS) -> PassResult:
    """Flatten all new commits of bronze, balance the last hours and build gold: a pass without the queue.

    Raises:
        PermanentError, TransientError: the lake is unreachable, or the settings are invalid; nothing was started. Or another live run held a
            pool for too long.
        InterruptedRunError: SIGTERM or Ctrl-C stopped the run.
    """
    with interrupt_as_error():
        _require_key(settings, shared_lake(settings.lake_uri))
        names = Names(settings.feed)
        with _instance() as instance:
            runner = _Runner(names, build_definitions(settings), instance, wait_seconds)
            return runner.and_gold(runner.run(FLATTEN_JOB, partition_key=today(), ops=only_new(names)))


def _require_key(settings: Settings, lake: Lake) -> None:
    """Check a lake on S3 for its key now: gold would fail without it, after all other work. A local lake creates its key if missing."""
    if not lake.is_local:
        pii_key(settings, lake)


@contextmanager
def _instance() -> Iterator[dg.DagsterInstance]:
    """Open the instance of ``DAGSTER_HOME``, whose UI shows the runs, or an ephemeral one."""
    home = os.environ.get("DAGSTER_HOME")
    if home and not (Path(home).is_absolute() and Path(home).is_dir()):
        raise ConfigurationError(f"DAGSTER_HOME, {home}, is not the absolute path of a folder: create the folder, or unset DAGSTER_HOME.")
    if home and "?" in home:  # Dagster addresses its databases by URL: half of them would be created beside the folder
        raise ConfigurationError(f"DAGSTER_HOME, {home}, contains ?, which Dagster does not support: choose a folder without it.")
    with _kept_instance() if home else _passing_instance() as instance:
        yield instance


@contextmanager
def _kept_instance() -> Iterator[dg.DagsterInstance]:
    """The instance of ``DAGSTER_HOME``.

    Raises:
        PermanentError: its storage failed.
    """
    try:
        with dg.DagsterInstance.get() as instance:
            if (lacking := missing_monitoring(instance)) is not None:
                remark(lacking)
            yield instance
    except SQLAlchemyError as error:
        why = str(error).splitlines()[0]
        raise PermanentError(
            f"Dagster's storage of DAGSTER_HOME, {os.environ['DAGSTER_HOME']}, could not be read or written ({why}): check its disk, its rights and "
            "its database. What the run committed to the lake stays."
        ) from error


@contextmanager
def _passing_instance() -> Iterator[dg.DagsterInstance]:
    """An instance of this process alone. A folder of Dagster's own choice would stay for ever after a kill, with the run's logs."""
    with scratch_folder("dagster") as folder, dg.DagsterInstance.ephemeral(tempdir=str(folder.path)) as instance:
        yield instance


@dataclass(frozen=True, slots=True)
class _Runner:
    """Runs jobs of a feed in this process, and supervises their waits."""

    names: Names
    definitions: dg.Definitions
    instance: dg.DagsterInstance
    wait_seconds: float

    def run(self, name: str, *, partition_key: str | None = None, ops: Mapping[str, dg.Config] | None = None) -> PassResult:
        """Run a job."""
        job, run_id = self.names.qualified(name), str(uuid4())
        attendant = Attendant(self.instance, self.names, run_id, self.wait_seconds)
        attendant.look()
        with attended(attendant):
            result = self.definitions.resolve_job_def(job).execute_in_process(
                instance=self.instance,
                run_id=run_id,
                partition_key=partition_key,
                run_config=dg.RunConfig(ops=dict(ops or {}), loggers=_QUIET["loggers"]),
                raise_on_error=False,
            )
        # The run's heartbeat ended with it; no other process may be there to clean up.
        attendant.look()
        if attendant.failure is not None:
            raise attendant.failure
        failures = tuple(dict.fromkeys([*_step_failures(result), *_check_failures(result, blocking=True)]))
        if not failures and not result.success:
            failures = (f"The {job} run {result.run_id} failed.",)
        return PassResult(failures, _metadata(result), tuple(_check_failures(result, blocking=False)))

    def and_gold(self, silver: PassResult) -> PassResult:
        """Balance the last hours and build gold, unless flattening failed or the hours do not balance."""
        if not silver.succeeded:
            return silver
        if not (balance := self.run(HOURLY_BALANCE_JOB)).succeeded:
            return PassResult(balance.failures, silver.metadata, silver.alarms)
        gold = self.run(GOLD_JOB)
        return PassResult(gold.failures, {**silver.metadata, **gold.metadata}, (*silver.alarms, *gold.alarms))


def _step_failures(result: dg.ExecuteInProcessResult) -> Iterator[str]:
    for event in result.all_events:
        if event.event_type == dg.DagsterEventType.STEP_FAILURE:
            data = event.step_failure_data
            failure = data.user_failure_data
            error = data.error
            cause = error.cause if error is not None and error.cause is not None else error
            yield (failure.description if failure is not None else None) or (
                cause.message.strip() if cause is not None else "A step failed."
            )


def _check_failures(result: dg.ExecuteInProcessResult, *, blocking: bool) -> Iterator[str]:
    for check in result.get_asset_check_evaluations():
        if not check.passed and check.severity == dg.AssetCheckSeverity.ERROR and bool(check.blocking) == blocking:
            name = f"{check.asset_key.to_user_string()}: {check.check_name}"
            yield f"The check {name} failed. {check.description or ''}".strip()


def _metadata(result: dg.ExecuteInProcessResult) -> dict[str, dict[str, Any]]:
    metadata: dict[str, dict[str, Any]] = {}
    for event in result.all_events:
        if event.event_type == dg.DagsterEventType.ASSET_MATERIALIZATION and event.asset_key is not None:
            values = event.materialization.metadata
            metadata["/".join(event.asset_key.path[-2:])] = {name: value.value for name, value in values.items()}
    return metadata
