"""A local lake with no room for a batch: one sentence, a whole queue, and everything once as soon as there is room.

Mounting a small disk takes rights that a test may not have. A limit on the size of a file takes none, and the kernel fails
the same write at the same place; only the reason that it gives differs, and the product takes both for one.
"""

from __future__ import annotations

import base64
import errno
import os
import subprocess
from pathlib import Path
from random import Random
from typing import Final

import dagster as dg
import pytest

from mg_lakehouse._util.environment import set_environment
from mg_lakehouse.dagster.build import build_definitions
from mg_lakehouse.dagster.jobs import INGEST_JOB
from mg_lakehouse.dagster.partitions import today
from mg_lakehouse.errors import PermanentError
from mg_lakehouse.lake.errors import store_error
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.settings import load_settings
from mg_lakehouse.testing.sqs import SqsEmulator
from mg_lakehouse_tests.cli.commands import COMMAND, environment
from mg_lakehouse_tests.lake.feeds import rows_of

pytestmark = pytest.mark.slow

MESSAGES: Final = 10
FULL: Final = "cannot be written: the disk is full, or a limit on its files is reached. Free some space."
_LIMITED: Final = "trap '' XFSZ; ulimit -f 128; exec \"$@\""  # 128 blocks of 512 bytes: 64 KiB


def large_bundle(number: int) -> str:
    """A bundle that no compression makes small."""
    noise = base64.b64encode(Random(number).randbytes(30_000)).decode()
    return f"<ActivityItems><!-- {noise} --></ActivityItems>"


def test_a_full_disk_leaves_the_queue_untouched_and_room_heals_it(tmp_path: Path) -> None:
    with SqsEmulator() as queue:
        bodies = [large_bundle(number) for number in range(MESSAGES)]
        queue.publish(bodies)
        variables = {**queue.environment, "MG_LAKE_URI": str(tmp_path / "lake")}
        full = subprocess.run(
            ["sh", "-c", _LIMITED, "sh", COMMAND, "run"],
            cwd=tmp_path,
            env=environment(tmp_path, **variables),
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert full.returncode == 1, full.stdout + full.stderr
        failed = [line for line in full.stderr.splitlines() if line.startswith("Failed:")]
        assert failed == [f"Failed: bronze/event_feed in the lake {tmp_path / 'lake'} {FULL}"], full.stderr
        counts = queue.client().get_queue_attributes(QueueUrl=queue.queue_url, AttributeNames=["All"])["Attributes"]
        assert (counts["ApproximateNumberOfMessages"], counts["ApproximateNumberOfMessagesNotVisible"]) == (str(MESSAGES), "0")

        # The command's own job without the gold behind it, which has nothing to do with the disk.
        with set_environment(variables), dg.DagsterInstance.ephemeral() as instance:
            ingest = build_definitions(load_settings(dotenv=None)).resolve_job_def(INGEST_JOB)
            assert ingest.execute_in_process(instance=instance, partition_key=today()).success
        assert queue.depth() == 0
    rows = rows_of(Lake(str(tmp_path / "lake")), "bronze", "event_feed")
    assert sorted(rows["body"]) == sorted(bodies)


@pytest.mark.parametrize("reason", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_every_way_to_be_full_is_the_same_sentence(reason: int) -> None:
    found = store_error(OSError(reason, os.strerror(reason)), "The table")
    assert isinstance(found, PermanentError)
    assert str(found) == f"The table {FULL}"
