"""Dagster assets that turn the MessageGears event feed into a Delta lakehouse.

The layers, from the top down; each imports only from those below it:

``cli`` > ``dagster`` > ``serving`` > ``maintenance`` > ``audit`` > ``gold`` > ``silver`` > ``bronze`` > ``sources`` > ``lake`` > ``settings`` > ``events``

``build_definitions`` is the one place that wires them; ``FeedComponent`` is the same as a component of somebody's ``dg`` project.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from mg_lakehouse._version import __version__

if TYPE_CHECKING:
    from mg_lakehouse.dagster.build import build_definitions
    from mg_lakehouse.dagster.component import FeedComponent
    from mg_lakehouse.dagster.resources import EventFeedResource, LakeResource, WebServiceResource
    from mg_lakehouse.errors import ConfigurationError, LakehouseError, PermanentError, QueryError, TransientError
    from mg_lakehouse.serving.alerts import Thresholds
    from mg_lakehouse.settings import Settings

__all__ = [
    "ConfigurationError",
    "EventFeedResource",
    "FeedComponent",
    "LakeResource",
    "LakehouseError",
    "PermanentError",
    "QueryError",
    "Settings",
    "Thresholds",
    "TransientError",
    "WebServiceResource",
    "__version__",
    "build_definitions",
]

_HOMES = {
    "mg_lakehouse.dagster.build": ("build_definitions",),
    "mg_lakehouse.dagster.component": ("FeedComponent",),
    "mg_lakehouse.dagster.resources": ("EventFeedResource", "LakeResource", "WebServiceResource"),
    "mg_lakehouse.errors": ("ConfigurationError", "LakehouseError", "PermanentError", "QueryError", "TransientError"),
    "mg_lakehouse.serving.alerts": ("Thresholds",),
    "mg_lakehouse.settings": ("Settings",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Import what is asked for: all of it at once would make every command wait two seconds for Dagster."""
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    """What ``dg`` looks through for components."""
    return sorted({*globals(), *_HOME_OF})
