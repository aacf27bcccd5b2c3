"""What was freed goes back to the system, also from between what is still held."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

_HOLDING_ONE_IN_FIFTY = """
import psutil
from mg_lakehouse._util.memory import release_freed_memory

def resident():
    return psutil.Process().memory_info().rss

before = resident()
held = [bytes(2_000) for _ in range(100_000)]
full = resident()
held = held[::50]
freed = resident()
release_freed_memory()
print(full - before, freed - before, resident() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc keeps what is freed, and can be told")
def test_memory_between_what_is_held_is_given_back() -> None:
    done = subprocess.run([sys.executable, "-c", _HOLDING_ONE_IN_FIFTY], capture_output=True, text=True, check=True)
    full, freed, given_back = map(int, done.stdout.split())
    assert full > 190e6
    assert freed > 150e6, "the C library gave it back by itself"
    assert given_back < 50e6
