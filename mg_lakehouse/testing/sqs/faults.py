"""Faults of SQS and of the way to it, switched on by rules that a test sets and can count afterwards."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random

__all__ = ["Fault", "Faults", "Rule"]


class Fault(StrEnum):
    """What can go wrong. Those of an entry strike single messages or entries, the others a whole call."""

    ANSWER_LOST = "the call takes effect and its answer is lost with the connection"
    DROPPED = "the connection is dropped before the call takes effect"
    THROTTLED = "ThrottlingException, HTTP 400"
    REQUEST_THROTTLED = "RequestThrottled, HTTP 503"
    INTERNAL_ERROR = "InternalFailure, HTTP 500"
    SLOW = "the answer comes late"
    EMPTY = "a receive finds nothing where messages wait, as short polling may"
    ENTRY_FAILED = "an entry of a batch fails by the server's fault"
    DELETED_RETURNS = "a message is deleted and delivered again all the same"
    DELIVERED_TWICE = "a delivered message stays visible, so that two may hold it at once"
    REPEATED = "a receive brings a message twice"
    WRONG_MD5 = "the checksum does not match the body"


@dataclass(slots=True)
class Rule:
    """When a fault strikes: in these calls (in all that can have it by default), so many times, with this probability."""

    fault: Fault
    calls: frozenset[str] | None = None
    count: int | None = None
    probability: float = 1.0
    seed: int = 0
    seconds: float = 0.0
    skip: int = 0
    fired: int = field(default=0, init=False)
    _rng: Random = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._rng = Random(f"{self.fault.name} {self.seed}")

    def strikes(self, fault: Fault, call: str) -> bool:
        """Whether the fault strikes this call; counts it if so."""
        if self.fault is not fault or (self.calls is not None and call not in self.calls):
            return False
        if self.skip:
            self.skip -= 1
            return False
        if (self.count is not None and self.fired >= self.count) or self._rng.random() >= self.probability:
            return False
        self.fired += 1
        return True


class Faults:
    """The rules in force."""

    def __init__(self) -> None:
        self._rules: list[Rule] = []
        self._lock = threading.Lock()

    def add(
        self,
        fault: Fault,
        calls: str | Iterable[str] | None = None,
        *,
        count: int | None = None,
        probability: float = 1.0,
        seed: int = 0,
        seconds: float = 0.0,
        skip: int = 0,
    ) -> Rule:
        """Set a rule; the first ``skip`` occasions pass. Its ``fired`` tells how often it struck."""
        names = None if calls is None else frozenset([calls] if isinstance(calls, str) else calls)
        rule = Rule(fault, names, count, probability, seed, seconds, skip)
        with self._lock:
            self._rules.append(rule)
        return rule

    def clear(self) -> None:
        """Take all rules back."""
        with self._lock:
            self._rules.clear()

    def strike(self, fault: Fault, call: str) -> Rule | None:
        """The rule by which the fault strikes now, if one does."""
        with self._lock:
            return next((rule for rule in self._rules if rule.strikes(fault, call)), None)
