"""One pass through Dagster in this process: drain, flatten, build gold, and say what became of it.

What the command line and the demo run is exactly the jobs that the sensor and the automation start, so that there is one
way through the pipeline.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import dagster as dg

from mg_lakehouse.assets.bronze import DrainConfig
from mg_lakehouse.assets.silver import only_new
from mg_lakehouse.definitions import build_definitions
from mg_lakehouse.errors import ConfigurationError
from mg_lakehouse.interrupts import in_a_sentence
from mg_lakehouse.jobs import FLATTEN_JOB, GOLD_JOB, INGEST_JOB
from mg_lakehouse.names import Names
from mg_lakehouse.partitions import today
from mg_lakehouse.settings import Settings
from mg_lakehouse.stores.lake import Lake
from mg_lakehouse.stores.pii_key import pii_key
from mg_lakehouse.stores.queue import open_queue
from mg_lakehouse.stores.tables import EVENT_FEED

__all__ = ["PassResult", "flatten_and_build", "run_once"]

_QUIET: Final = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dataclass(frozen=True, slots=True)
class PassResult:
    """What a pass did. ``failures`` are sentences; the pass succeeded where there are none.

    ``metadata`` has each materialized asset's numbers by layer and table, such as ``bronze/event_feed``.
    """

    failures: tuple[str, ...] = ()
    metadata: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def succeeded(self) -> bool:
        """Whether everything did."""
        return not self.failures


def run_once(settings: Settings, *, max_messages: int | None = None, max_seconds: float | None = None) -> PassResult:
    """Drain the queue until it is empty or the budget is spent, flatten, and build gold.

    Gold is not built when the ingest failed or one of its blocking checks did.

    Raises:
        PermanentError, TransientError: the queue or the lake cannot be asked, or the settings are unusable; nothing was started.
        InterruptedRunError: the run was stopped, by SIGTERM or Ctrl-C.
    """
    # Asked before anything starts, so that a wrong address costs a second and one sentence.
    open_queue(settings).depth()
    lake = Lake(settings.lake_uri)
    lake.open(EVENT_FEED.layer, EVENT_FEED.name)
    _require_key(settings, lake)
    names, definitions = Names(settings.feed), build_definitions(settings)
    budget = DrainConfig(max_messages=max_messages, max_seconds=max_seconds, until_empty=True)
    with in_a_sentence(), _instance() as instance:
        ops = {names.event_feed.to_python_identifier(): budget, **only_new(names)}
        ingest = _run(definitions, instance, names.of(INGEST_JOB), partition_key=today(), ops=ops)
        return _and_gold(names, definitions, instance, ingest)


def flatten_and_build(settings: Settings) -> PassResult:
    """Flatten what silver lacks of any bronze table, and build gold: a pass without the queue.

    Raises:
        PermanentError, TransientError: the lake cannot be asked, or the settings are unusable; nothing was started.
        InterruptedRunError: the run was stopped, by SIGTERM or Ctrl-C.
    """
    _require_key(settings, Lake(settings.lake_uri))
    names, definitions = Names(settings.feed), build_definitions(settings)
    with in_a_sentence(), _instance() as instance:
        flattened = _run(definitions, instance, names.of(FLATTEN_JOB), partition_key=today(), ops=only_new(names))
        return _and_gold(names, definitions, instance, flattened)


def _require_key(settings: Settings, lake: Lake) -> None:
    """Gold would miss the key of a lake on S3 after everything else was done; that of a local one is made where it is missing."""
    if not lake.is_local:
        pii_key(settings, lake)


def _and_gold(names: Names, definitions: dg.Definitions, instance: dg.DagsterInstance, silver: PassResult) -> PassResult:
    if not silver.succeeded:
        return silver
    gold = _run(definitions, instance, names.of(GOLD_JOB))
    return PassResult(gold.failures, {**silver.metadata, **gold.metadata})


@contextmanager
def _instance() -> Iterator[dg.DagsterInstance]:
    """The instance of ``DAGSTER_HOME``, where its UI shows the runs, or one that is gone afterwards."""
    home = os.environ.get("DAGSTER_HOME")
    if home and not (Path(home).is_absolute() and Path(home).is_dir()):
        raise ConfigurationError(f"DAGSTER_HOME, {home}, is no absolute path of a folder: make the folder, or unset it.")
    with dg.DagsterInstance.get() if home else dg.DagsterInstance.ephemeral() as instance:
        yield instance


def _run(
    definitions: dg.Definitions,
    instance: dg.DagsterInstance,
    job: str,
    *,
    partition_key: str | None = None,
    ops: Mapping[str, dg.Config] | None = None,
) -> PassResult:
    config = dg.RunConfig(ops=dict(ops or {}), loggers=_QUIET["loggers"])
    result = definitions.resolve_job_def(job).execute_in_process(
        instance=instance, partition_key=partition_key, run_config=config, raise_on_error=False
    )
    failures = tuple(dict.fromkeys([*_step_failures(result), *_check_failures(result)]))
    if not failures and not result.success:
        failures = (f"The {job} run {result.run_id} failed.",)
    return PassResult(failures, _metadata(result))


def _step_failures(result: dg.ExecuteInProcessResult) -> Iterator[str]:
    for event in result.all_events:
        if event.event_type == dg.DagsterEventType.STEP_FAILURE:
            data = event.step_failure_data
            said = data.user_failure_data
            error = data.error
            cause = error.cause if error is not None and error.cause is not None else error
            yield (said.description if said is not None else None) or (cause.message.strip() if cause is not None else "A step failed.")


def _check_failures(result: dg.ExecuteInProcessResult) -> Iterator[str]:
    for check in result.get_asset_check_evaluations():
        if not check.passed and check.severity == dg.AssetCheckSeverity.ERROR:
            name = f"{check.asset_key.to_user_string()}: {check.check_name}"
            yield f"The check {name} failed. {check.description or ''}".strip()


def _metadata(result: dg.ExecuteInProcessResult) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for event in result.all_events:
        if event.event_type == dg.DagsterEventType.ASSET_MATERIALIZATION and event.asset_key is not None:
            values = event.materialization.metadata
            found["/".join(event.asset_key.path[-2:])] = {name: value.value for name, value in values.items()}
    return found
