"""Named points of the ingestion at which a test may have the process killed, an error raised or another one run.

Inert otherwise: a point costs one look at a module's variable. Nothing sets it but a test: there is no setting for it.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

__all__ = ["Failpoint", "on_reached", "reached"]


class Failpoint(StrEnum):
    """The points, in the order in which a message passes them."""

    RECEIVED = "received"
    """A receive was answered; nobody holds the messages yet."""

    COMMIT_LOOKED = "commit_looked"
    """A table was opened and it was decided what to append."""

    COMMIT_LANDED = "commit_landed"
    """An append landed; who asked for it does not know yet."""

    BATCH_COMMITTED = "batch_committed"
    """The whole batch is in bronze; nothing of it is deleted."""

    DELETED_SOME = "deleted_some"
    """One call of a batch's deletes was answered; more may follow."""

    BATCH_DELETED = "batch_deleted"
    """All deletes of a batch were answered."""

    FILE_PART_COMMITTED = "file_part_committed"
    """A batch of a daily file's bundles is in bronze; others may follow."""

    SILVER_READ = "silver_read"
    """A slice of bronze was read and flattened; no table has it."""

    HANDING_BACK = "handing_back"
    """What was received and not committed is about to be made visible again."""


_handler: Callable[[Failpoint, str], None] | None = None


def on_reached(handler: Callable[[Failpoint, str], None] | None) -> None:
    """Have ``handler`` called at each point with the point and what it is about, such as a table; ``None`` ends that."""
    global _handler  # noqa: PLW0603  one for the process, as the points are
    _handler = handler


def reached(point: Failpoint, subject: str = "") -> None:
    """Say that a point was reached."""
    if _handler is not None:
        _handler(point, subject)
