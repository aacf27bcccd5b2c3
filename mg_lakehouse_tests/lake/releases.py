"""Another release of mg-lakehouse: the same code with a catalogue that has more columns, within a block."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from mg_lakehouse.events import catalogue
from mg_lakehouse.events.catalogue import Column, Event

__all__ = ["later_release"]


@contextmanager
def later_release(**columns: Column) -> Iterator[None]:
    """Within, the tables that are named have a column more, which stands last of the event's own."""
    events = tuple(
        replace(event, columns=(*event.columns, columns[event.table])) if event.table in columns else event for event in catalogue.EVENTS
    )
    before = catalogue.EVENTS
    _install(events)
    try:
        yield
    finally:
        _install(before)


def _install(events: tuple[Event, ...]) -> None:
    old = catalogue.EVENTS
    for module in _modules():
        for name, value in vars(module).items():
            if value is old:
                setattr(module, name, events)
    catalogue._BY_TABLE.update({event.table: event for event in events})
    catalogue._BY_ELEMENT.update({element: event for event in events for element in event.elements})
    for module in _modules():
        for value in vars(module).values():
            if hasattr(value, "cache_clear") and value.__module__.startswith(("mg_lakehouse.events.", "mg_lakehouse.silver.tables")):
                value.cache_clear()


def _modules() -> list[Any]:
    return [module for name, module in sys.modules.items() if name.startswith("mg_lakehouse.") and module is not None]
