"""Waits within a run of this process: each has an end."""

import os
import signal
from pathlib import Path

import dagster as dg
import pytest

from mg_lakehouse.dagster.names import Names
from mg_lakehouse.dagster.waiting import Attendant, attended
from mg_lakehouse.errors import InterruptedRunError
from mg_lakehouse_tests.dagster.homes import home


@dg.op
def is_tried_again() -> None:
    raise dg.RetryRequested(max_retries=1, seconds_to_wait=600)


@dg.job(executor_def=dg.in_process_executor)
def tries() -> None:
    is_tried_again()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_wait_until_a_step_is_tried_again(tmp_path: Path, sign: signal.Signals) -> None:
    """Dagster notes it for the next step, which is minutes away where a store is down."""

    class Told(Attendant):
        def wait(self, seconds: float) -> None:
            os.kill(os.getpid(), sign)
            super().wait(seconds)

    with home(tmp_path / "home") as instance:
        attendant = Told(instance, Names(), "none", seconds=0)
        with attended(attendant):
            result = tries.execute_in_process(instance=instance, raise_on_error=False)
    assert not result.success
    assert isinstance(attendant.failure, InterruptedRunError)
