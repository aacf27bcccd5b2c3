"""Short runs of the coverage-guided fuzzers, so that they cannot rot; `make check-long` runs the long ones."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


def fuzz(folder: Path, runs: int, seed: int, module: str = "fuzz_bodies") -> None:
    options = [f"-runs={runs}", f"-seed={seed}", "-max_len=4096", "-timeout=20", "-rss_limit_mb=2048", f"-artifact_prefix={folder}/"]
    done = subprocess.run(
        [sys.executable, "-m", f"mg_lakehouse_tests.security.{module}", *options, str(folder / "corpus")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3_000:]
    assert f"Done {runs} runs" in done.stderr


def test_the_fuzzer_finds_nothing_in_a_short_run(tmp_path: Path) -> None:
    fuzz(tmp_path, runs=1_000, seed=1)


def test_the_fuzzer_of_texts_finds_nothing_in_a_short_run(tmp_path: Path) -> None:
    fuzz(tmp_path, runs=500, seed=1, module="fuzz_texts")


@pytest.mark.faults
@pytest.mark.timeout(1_200)
@pytest.mark.parametrize("seed", range(2))
def test_the_fuzzer_of_texts_finds_nothing_in_a_long_run(tmp_path: Path, seed: int) -> None:
    fuzz(tmp_path, runs=15_000, seed=seed, module="fuzz_texts")


@pytest.mark.faults
@pytest.mark.timeout(1_200)
@pytest.mark.parametrize("seed", range(4))
def test_the_fuzzer_finds_nothing_in_a_long_run(tmp_path: Path, seed: int) -> None:
    fuzz(tmp_path, runs=50_000, seed=seed)
