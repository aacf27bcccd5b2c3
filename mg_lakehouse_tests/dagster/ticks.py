"""Ticks of sensors, evaluated as the daemon does."""

from __future__ import annotations

import dagster as dg

__all__ = ["tick"]


def tick(definitions: dg.Definitions, sensor: str, instance: dg.DagsterInstance) -> dg.RunRequest | str:
    """What a tick asks for: one run, or none for a reason."""
    wanted = definitions.resolve_sensor_def(sensor)
    resources = {name: resource for name, resource in (definitions.resources or {}).items() if name in wanted.required_resource_keys}
    with dg.build_sensor_context(instance=instance, definitions=definitions, resources=resources) as context:
        asked = wanted.evaluate_tick(context)
    if asked.run_requests:
        (request,) = asked.run_requests
        return request
    assert asked.skip_message
    return asked.skip_message
