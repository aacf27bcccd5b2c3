"""How the benchmarks measure: processes, memory, turns, ratios."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks.harness.compare import Contender, Measured, Spread, compare, ratios
from benchmarks.harness.memory import MemoryPoint, thinned
from benchmarks.harness.processes import Done, WorkFailedError, run

MIB = 2**20
SCRIPT = """
import json, subprocess, sys
asked = json.load(open(sys.argv[1]))
if asked.get("fail"):
    sys.exit("there is no such thing")
child = "held = bytearray({0}); print(len(held), flush=True); input()"
with subprocess.Popen([sys.executable, "-c", child.format(asked["bytes"])], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
    process.stdout.readline()
    held = bytearray(asked["bytes"])
    json.dump({"events": len(held)}, open(sys.argv[2], "w"))
    if asked["bytes"]:
        import time
        deadline = time.monotonic() + 1
        while time.monotonic() < deadline:
            pass
    process.communicate(b"\\n")
"""


@pytest.fixture
def script(tmp_path: Path) -> list[str]:
    file = tmp_path / "work.py"
    file.write_text(SCRIPT)
    return [sys.executable, str(file)]


def test_the_memory_of_a_process_and_its_child_is_added_up(script: list[str]) -> None:
    small, large = (run(script, {"bytes": size}) for size in (0, 64 * MIB))
    assert large.answer == {"events": 64 * MIB}
    # Touched pages of two processes; what the interpreters hold themselves varies by less than a fourth of it.
    assert 100 * MIB < large.peak_bytes - small.peak_bytes < 160 * MIB
    assert max(point.bytes for point in large.memory) == large.peak_bytes


def test_work_that_fails_says_why(script: list[str]) -> None:
    with pytest.raises(WorkFailedError, match="ended with status 1:\nthere is no such thing"):
        run(script, {"fail": True})


def test_contenders_take_turns_and_every_second_round_goes_backwards() -> None:
    order: list[str] = []

    def once(name: str, seconds: float) -> Done:
        order.append(name)
        return Done({"seconds": seconds, "events": 100}, 5)

    contenders = [
        Contender("quick", lambda round_: once("quick", 1.0 + round_), 3),
        Contender("slow", lambda round_: once("slow", 3.0 + 3 * round_), 2),
    ]
    found = compare(contenders, lambda _: None)
    assert order == ["quick", "slow", "slow", "quick", "quick"]
    assert (found["quick"].seconds, found["slow"].seconds) == ([1.0, 2.0, 3.0], [3.0, 6.0])
    assert found["quick"].rates == Spread(50.0, 100 / 3, 100.0)
    # Round by round, as far as both went: 3 to 1 and 6 to 2.
    assert ratios(found["slow"], found["quick"]) == Spread(3.0, 3.0, 3.0)


def test_cores_are_what_the_contender_says_of_its_cpu_time() -> None:
    assert Measured("x", [2.0, 4.0], [3.0, 6.0], 1, 1, {}).cores == 1.5
    assert Measured("x", [2.0, 4.0], [], 1, 1, {}).cores is None


def test_a_spread_is_written_with_its_ends() -> None:
    assert Spread.of([3.0, 1.0, 2.0]).text(".1f", "x") == "2.0x (1.0 to 3.0)"


def test_a_thinned_curve_keeps_the_peak() -> None:
    points = [MemoryPoint(index / 4, index % 97) for index in range(1_000)]
    kept = thinned(points, at_most=100)
    assert len(kept) == 100
    assert max(point.bytes for point in kept) == 96
    assert kept[-1].seconds == points[-1].seconds
