"""What is used of Dagster's private modules, all of it, for there is no public way to it in 1.13.

Belongs here: a name of ``dagster._core`` that something needs. Whoever moves to a newer Dagster looks here first.
"""

# How far a sensor got, and whether it runs: `DagsterInstance.all_instigator_state` is public, its types are not.
from dagster._core.execution.plan.active import ActiveExecution  # the loop over steps that waiting for a pool blocks
from dagster._core.scheduler.instigation import InstigatorState, InstigatorStatus, InstigatorType, SensorInstigatorData

# The newest evaluation of a check: of the records only their type is private.
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus

# The key-value table of the run storage, written without a run's event for each heartbeat.
from dagster._core.storage.runs.schema import KeyValueStoreTable
from dagster._core.storage.runs.sql_run_storage import SqlRunStorage

__all__ = [
    "ActiveExecution",
    "AssetCheckExecutionRecordStatus",
    "InstigatorState",
    "InstigatorStatus",
    "InstigatorType",
    "KeyValueStoreTable",
    "SensorInstigatorData",
    "SqlRunStorage",
]
