"""What the goals share: the size of a run, a folder to work in, and how progress is told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import polars as pl

from benchmarks.data.feed import Mix, bodies

__all__ = ["SIZES", "Context", "Size", "SizeName"]

SizeName = Literal["tiny", "small", "standard", "full"]


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured.

    ``events`` of the feed; ``rounds`` of the quick contenders and ``slow_rounds`` of dlt and Spark; ``history`` sizes in rows of silver, with
    ``history_rounds`` micro-batches at each, gold up to ``gold_rows`` of them, and gold from nothing up to ``whole_builds``; ``drain_messages``; ``fresh_seconds`` of steady sending; ``backfill_events``;
    ``daily_file_bytes`` of the largest daily file, unpacked.
    """

    events: int
    rounds: int
    slow_rounds: int
    history: tuple[int, ...]
    history_rounds: int
    gold_rows: int
    whole_builds: int
    drain_messages: int
    fresh_seconds: int
    backfill_events: int
    daily_file_bytes: int


SIZES: Final[dict[SizeName, Size]] = {
    "tiny": Size(2_000, 1, 1, (250_000,), 1, 250_000, 0, 500, 10, 4_000, 4_000_000),
    "small": Size(50_000, 3, 1, (250_000, 1_000_000), 2, 1_000_000, 1_000_000, 10_000, 60, 200_000, 400_000_000),
    "standard": Size(200_000, 5, 3, (1_000_000, 3_000_000, 10_000_000), 3, 10_000_000, 3_000_000, 60_000, 150, 1_000_000, 5_000_000_000),
    "full": Size(200_000, 7, 3, (1_000_000, 10_000_000, 100_000_000), 3, 100_000_000, 1_000_000, 200_000, 300, 10_000_000, 5_000_000_000),
}


@dataclass(frozen=True, slots=True)
class Context:
    """What a goal gets. ``folder`` is its own and empty; ``cache`` outlives runs; ``say`` tells what was just measured.

    ``kept`` is where a goal looks for what takes long to make, and leaves it: the folder itself, where the caller names none.
    """

    size_name: SizeName
    folder: Path
    cache: Path
    kept: Path
    say: Callable[[str], None]

    @property
    def size(self) -> Size:
        """How much to measure."""
        return SIZES[self.size_name]

    def feed(self, *, events: int | None = None, mix: Mix = "clean") -> tuple[Path, pl.DataFrame]:
        """The feed as a file in the folder and as a frame."""
        frame = bodies(self.cache, events=events or self.size.events, mix=mix)
        file = self.folder / f"feed-{mix}-{events or self.size.events}.parquet"
        if not file.exists():
            frame.write_parquet(file)
        return file, frame
