"""All names in Dagster: asset keys, groups, jobs, ops, pools and resources.

A project may hold several feeds, each with its own queue and lake. The names of a named feed begin with the feed's name; those of an unnamed
feed have no prefix. A silver table's key is also its dbt source's key, which joins the two graphs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import dagster as dg

__all__ = ["Group", "Names"]

Group = Literal["messagegears", "bronze", "silver", "gold"]

_LOST_NOTHING: Final = "queue_lost_nothing"
_NOTHING_SET_ASIDE: Final = "nothing_set_aside"
_INGESTED: Final = "messages_are_ingested"


@dataclass(frozen=True, slots=True)
class Names:
    """The names of one feed's definitions; ``feed`` is its name, in letters, digits and ``_``."""

    feed: str | None = None

    def qualified(self, name: str) -> str:
        """Name of a job, op, sensor, schedule or resource: ``ingest``, or ``transactional_ingest``."""
        return name if self.feed is None else f"{self.feed}_{name}"

    def key(self, *path: str) -> dg.AssetKey:
        """Asset key: ``silver/opens``, or ``transactional/silver/opens``."""
        return dg.AssetKey([*(() if self.feed is None else (self.feed,)), *path])

    def group(self, group: Group) -> str:
        """Name of an asset group."""
        return self.qualified(group)

    def pool(self, name: str) -> str:
        """Name of a pool: ``mg_silver``, or ``mg_transactional_silver``."""
        return f"mg_{self.qualified(name)}"

    def silver(self, table: str) -> dg.AssetKey:
        """Asset key of a silver table."""
        return self.key("silver", table)

    def gold(self, model: str) -> dg.AssetKey:
        """Asset key of a gold table."""
        return self.key("gold", model)

    @property
    def queue(self) -> dg.AssetKey:
        """Asset key of the queue, an external asset."""
        return self.key("messagegears", "event_feed_queue")

    @property
    def event_feed(self) -> dg.AssetKey:
        """Asset key of the bronze table of the queue's messages."""
        return self.key("bronze", "event_feed")

    @property
    def files(self) -> dg.AssetKey:
        """Asset key of the daily files, which MessageGears produces."""
        return self.key("messagegears", "account_activity_files")

    @property
    def account_activity(self) -> dg.AssetKey:
        """Asset key of the bronze table of the daily files."""
        return self.key("bronze", "account_activity")

    @property
    def loaded_files(self) -> dg.AssetKey:
        """Asset key of the bronze table of loaded files."""
        return self.key("bronze", "loaded_files")

    @property
    def queue_lost_nothing(self) -> dg.AssetCheckKey:
        """Key of the check that compares the daily files with the queue's events."""
        return dg.AssetCheckKey(self.account_activity, _LOST_NOTHING)

    @property
    def nothing_set_aside(self) -> dg.AssetCheckKey:
        """Key of the check that no message is set aside because it failed to flatten."""
        return dg.AssetCheckKey(self.silver("rejected_items"), _NOTHING_SET_ASIDE)

    @property
    def messages_are_ingested(self) -> dg.AssetCheckKey:
        """Key of the check that messages do not wait while nothing is ingested."""
        return dg.AssetCheckKey(self.event_feed, _INGESTED)
