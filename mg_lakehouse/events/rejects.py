"""Reasons why an item or a message could not become a row: the closed list behind ``rejected_items.reason``."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["Reason"]


class Reason(StrEnum):
    """Reason of a rejection. The list is closed: a new one is a change of the contract."""

    MALFORMED_XML = "malformed_xml"
    """Not well-formed, or text between items, or a body that declares a document type, which the reader refuses."""
    NOT_XML = "not_xml"
    """The body is neither XML nor CSV of the feed, and no known envelope holds one; the detail describes it."""
    NOT_ACTIVITY_ITEMS = "not_activity_items"
    """Well-formed, but the root is neither ``ActivityItems`` nor an ``AccountActivityResponse`` that holds one."""
    TORN_ROW = "torn_row"
    """A row of CSV whose number of cells is not its header's, or that names no activity."""
    MISSING_TIMESTAMP = "missing_timestamp"
    """The item has no ``Timestamp``, or an empty one."""
    INVALID_TIMESTAMP = "invalid_timestamp"
    """The item's ``Timestamp`` is not an ``xsd:dateTime``."""
    CONFLICTING_ACTIVITY_ID = "conflicting_activity_id"
    """The table already has another event under this activity id, with different content."""
    OVERLOOKED_ITEMS = "overlooked_items"
    """More items begin in the body than became rows or rejects: a bug of ours. The reject keeps them in the books."""
