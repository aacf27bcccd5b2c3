"""All imports from Dagster's private modules: Dagster 1.13 has no public ones for them.

Every name from ``dagster._core`` and ``dagster._utils`` belongs here. Check this module first when you upgrade Dagster.
"""

# A sensor's cursor and status: `DagsterInstance.all_instigator_state` is public, its types are not.
from dagster._core.execution.plan.active import ActiveExecution  # the loop over steps, which blocks while it waits for a pool
from dagster._core.scheduler.instigation import InstigatorState, InstigatorStatus, InstigatorType, SensorInstigatorData

# The newest evaluation of a check: only the type of its records is private.
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus

# The key-value table of the run storage: a heartbeat needs no run event.
from dagster._core.storage.runs.schema import KeyValueStoreTable
from dagster._core.storage.runs.sql_run_storage import SqlRunStorage

# Whether an interrupt arrived while Dagster defers it.
from dagster._utils.interrupts import check_captured_interrupt

__all__ = [
    "ActiveExecution",
    "AssetCheckExecutionRecordStatus",
    "InstigatorState",
    "InstigatorStatus",
    "InstigatorType",
    "KeyValueStoreTable",
    "SensorInstigatorData",
    "SqlRunStorage",
    "check_captured_interrupt",
]
