"""Dagster assets that turn the MessageGears event feed into a Delta lakehouse.

The rooms, from the top down; each imports only from those below it:

``cli`` > ``dagster`` > ``serving`` > ``maintenance`` > ``audit`` > ``gold`` > ``silver`` > ``bronze`` > ``sources`` > ``lake`` > ``settings`` > ``events``

``build_definitions`` is the one place that wires them; ``FeedComponent`` is the same as a component of somebody's ``dg`` project.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mg_lakehouse.dagster.build import build_definitions
    from mg_lakehouse.dagster.component import FeedComponent
    from mg_lakehouse.settings import Settings

try:
    __version__ = version("mg-lakehouse")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+unknown"

__all__ = ["FeedComponent", "Settings", "__version__", "build_definitions"]

_HOMES = {
    "FeedComponent": "mg_lakehouse.dagster.component",
    "Settings": "mg_lakehouse.settings",
    "build_definitions": "mg_lakehouse.definitions",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for: all of it at once would make every command wait two seconds for Dagster."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """What ``dg`` looks through for components."""
    return sorted({*globals(), *_HOMES})
