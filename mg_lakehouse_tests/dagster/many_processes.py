"""A run as a project's own executor makes it: a process for each op, and one above them that runs nothing of ours."""

import dagster as dg

from mg_lakehouse.dagster.resources import HeartbeatResource
from mg_lakehouse_tests.dagster.homes import hearts_of

__all__ = ["many_processes"]


@dg.op(required_resource_keys={"heartbeat"}, pool="mg_silver")
def looks_at_its_heart(context: dg.OpExecutionContext) -> None:
    heart = hearts_of(context.instance).all()[context.run_id]
    assert (heart.every, heart.resting) == (3.0, False)


@dg.job(executor_def=dg.multiprocess_executor, resource_defs={"heartbeat": HeartbeatResource(every=3.0).get_resource_definition()})
def many_processes() -> None:
    looks_at_its_heart()
