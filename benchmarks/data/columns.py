"""Columns of made-up rows by the million: random ids, and what belongs to a job or a person, by number.

NumPy and Polars only, no Python for a row: ten million rows take seconds.
"""

from __future__ import annotations

from datetime import date, timedelta
from functools import cache
from hashlib import md5
from typing import Final

import numpy as np
import polars as pl
import pyarrow as pa

__all__ = ["PEOPLE", "Ints", "addresses", "agents", "emails", "job_ids", "person_of", "recipients", "urls", "uuids"]

Ints = np.ndarray[tuple[int], np.dtype[np.int64]]

PEOPLE: Final = 2_000_000
_HEX: Final = np.frombuffer(b"".join(f"{byte:02x}".encode() for byte in range(256)), dtype=np.uint8).reshape(256, 2)
_DASHES: Final = (8, 13, 18, 23)
_DOMAINS: Final = (
    "gmail.com",
    "gmail.com",
    "gmail.com",
    "yahoo.com",
    "hotmail.com",
    "icloud.com",
    "aol.com",
    "comcast.net",
    "web.de",
    "example.org",
)
_AGENTS: Final = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Safari/605.1.15",
    "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)",
    "Mozilla/5.0",
)
_LETTERS: Final = "bbdt"


def uuids(count: int, rng: np.random.Generator) -> pl.Series:
    """Random ids in the form of UUIDs."""
    digits = _HEX[rng.integers(0, 256, (count, 16), dtype=np.uint8)].reshape(count, 32)
    text = np.empty((count, 36), dtype=np.uint8)
    text[:, _DASHES] = ord("-")
    places = [place for place in range(36) if place not in _DASHES]
    text[:, places] = digits
    offsets = np.arange(0, 36 * (count + 1), 36, dtype=np.int64)
    array = pa.LargeStringArray.from_buffers(count, pa.py_buffer(offsets.data), pa.py_buffer(text.data))
    return pl.Series(pl.from_arrow(array))


@cache
def emails() -> pl.Series:
    """Address of each person."""
    domains = pl.Series(_DOMAINS)
    numbers = pl.DataFrame({"n": np.arange(PEOPLE)})
    return numbers.select(pl.format("example.person.{}@{}", "n", domains.gather(np.arange(PEOPLE) % len(_DOMAINS)))).to_series()


@cache
def recipients() -> pl.Series:
    """The sender's key of each person."""
    return pl.DataFrame({"n": np.arange(PEOPLE) + 100_000}).select(pl.format("R-{}", "n")).to_series()


def person_of(job: Ints, message: Ints) -> Ints:
    """Number of the person whom a job's message goes to: within a job everybody once, from job to job others."""
    return (job * 7_368_787 + message * 15_485_863) % PEOPLE


def addresses(count: int, rng: np.random.Generator) -> pl.Series:
    """IP addresses of the documentation's ranges and of many networks."""
    return _ips().gather(rng.integers(0, _ips().len(), count))


@cache
def _ips() -> pl.Series:
    numbers = pl.DataFrame({"a": np.arange(200_000)})
    return numbers.select(pl.format("10.{}.{}.{}", pl.col("a") // 65_536, pl.col("a") // 256 % 256, pl.col("a") % 256)).to_series()


def agents(count: int, rng: np.random.Generator) -> pl.Series:
    """User agents."""
    return pl.Series(_AGENTS).gather(rng.integers(0, len(_AGENTS), count))


def urls(count: int, rng: np.random.Generator) -> pl.Series:
    """Addresses of links, two hundred in all."""
    numbers = pl.DataFrame({"n": np.arange(200)}).select(
        pl.format("https://www.shop.example/offer?utm_source=mg&utm_medium=email&id={}", "n")
    )
    return numbers.to_series().gather(rng.integers(0, 200, count))


def job_ids(jobs: range, first_day: date, to_a_day: int) -> pl.Series:
    """Request ids of jobs by number, as the feed writes them: letter, year, day of the year, and 32 digits."""
    return pl.Series([_job_id(job, first_day, to_a_day) for job in jobs], dtype=pl.String)


def _job_id(job: int, first_day: date, to_a_day: int) -> str:
    sent = first_day + timedelta(days=job // to_a_day)
    digits = md5(str(job).encode(), usedforsecurity=False).hexdigest()
    return f"02-{_LETTERS[job % len(_LETTERS)]}{sent.year % 100:02d}{sent.timetuple().tm_yday:03d}-{digits}"
