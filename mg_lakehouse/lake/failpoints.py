"""Names points of the ingestion at which a test can kill the process, raise an error or run another one.

Without a test they do nothing: a point costs one read of a module variable. Only tests set it; there is no setting for it.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

__all__ = ["Failpoint", "on_reached", "reached"]


class Failpoint(StrEnum):
    """The points, in the order in which a message passes them."""

    RECEIVED = "received"
    """A receive was answered; nothing holds the messages yet."""

    COMMIT_DECIDED = "commit_looked"
    """A table was opened and read, and what to append was decided."""

    COMMIT_DONE = "commit_landed"
    """An append was committed; its caller does not know yet."""

    BATCH_COMMITTED = "batch_committed"
    """The whole batch is in bronze; none of it is deleted."""

    DELETED_SOME = "deleted_some"
    """One call of a batch's deletes was answered; more may follow."""

    BATCH_DELETED = "batch_deleted"
    """All deletes of a batch were answered."""

    FILE_PART_COMMITTED = "file_part_committed"
    """A batch of a daily file's bundles is in bronze; others may follow."""

    SILVER_READ = "silver_read"
    """A slice of bronze was read and flattened; no table has it."""

    IDS_WRITTEN = "ids_written"
    """A file of known ids was written beside a silver table; those that it replaces are still there."""

    RELEASING = "handing_back"
    """Uncommitted messages are about to be released."""


_handler: Callable[[Failpoint, str], None] | None = None


def on_reached(handler: Callable[[Failpoint, str], None] | None) -> None:
    """Call ``handler`` at each point with the point and its subject, such as a table; ``None`` removes the handler."""
    global _handler  # noqa: PLW0603  one for the process, as the points are
    _handler = handler


def reached(point: Failpoint, subject: str = "") -> None:
    """Report that a point was reached."""
    if _handler is not None:
        _handler(point, subject)
