"""Which messages make work fail: exactly those that do, whatever they are beside."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mg_lakehouse.errors import TransientError
from mg_lakehouse.events.culprits import ContentError, TooManyCulpritsError, content_errors, sparing

MESSAGES = [f"m{number}" for number in range(40)]


def refusing(*bad: frozenset[str]) -> Callable[[Sequence[str]], list[str]]:
    """Work that gives back its messages, and fails where it gets all of one of these sets."""

    def work(messages: Sequence[str]) -> list[str]:
        for together in bad:
            if together <= set(messages):
                raise ContentError(f"fails on {len(together)}")
        return list(messages)

    return work


@given(st.sets(st.sampled_from(MESSAGES), max_size=10))
def test_those_that_fail_are_left_out_and_no_others(bad: set[str]) -> None:
    done, reasons = sparing(MESSAGES, refusing(*(frozenset({one}) for one in bad)), at_most=10)
    assert done == [message for message in MESSAGES if message not in bad]
    assert reasons == dict.fromkeys((message for message in MESSAGES if message in bad), "fails on 1")


@given(st.sets(st.sampled_from(MESSAGES), min_size=2, max_size=2))
def test_of_two_that_fail_together_the_later_is_left_out(pair: set[str]) -> None:
    done, reasons = sparing(MESSAGES, refusing(frozenset(pair)), at_most=10)
    assert list(reasons) == [max(pair, key=MESSAGES.index)]
    assert len(done) == len(MESSAGES) - 1


def test_more_than_a_few_are_no_odd_messages() -> None:
    bad = [frozenset({message}) for message in MESSAGES[:4]]
    with pytest.raises(TooManyCulpritsError) as raised:
        sparing(MESSAGES, refusing(*bad), at_most=3)
    assert raised.value.reason == "fails on 1"


def test_a_failure_that_does_not_come_again_leaves_nobody_out() -> None:
    failures = iter([True, False, False])

    def work(messages: Sequence[str]) -> list[str]:
        if next(failures):
            raise ContentError("once")
        return list(messages)

    assert sparing(MESSAGES, work, at_most=3) == (MESSAGES, {})


def test_work_that_fails_without_any_message_fails() -> None:
    with pytest.raises(ContentError):
        sparing([], refusing(frozenset()), at_most=3)


@pytest.mark.parametrize(
    "error", [MemoryError(), OSError(28, "No space left on device"), TransientError("throttled"), Exception("a stream of delta-rs")]
)
def test_failures_of_the_machine_are_no_fault_of_the_content(error: Exception) -> None:
    with pytest.raises(type(error)) as raised, content_errors():
        raise error
    assert raised.value is error


@pytest.mark.parametrize("kind", [OverflowError, KeyError, RecursionError, pl.exceptions.ComputeError, pl.exceptions.PanicException])
def test_what_fails_on_content_is_told_by_its_type_and_never_by_its_text(kind: type[BaseException]) -> None:
    with pytest.raises(ContentError) as raised, content_errors():
        raise kind("pat@example.com")
    assert str(raised.value) == kind.__name__


def test_the_reason_names_our_line_that_met_it() -> None:
    from mg_lakehouse.events.strict.cast import parse_int

    with pytest.raises(ContentError) as raised, content_errors():
        parse_int(None)  # type: ignore[arg-type]
    assert str(raised.value).startswith("AttributeError in events/typing.py, line ")
