"""The policy in `deploy/` allows what the code calls, and nothing else of SQS."""

from __future__ import annotations

import contextlib
import json
import re
from pathlib import Path
from typing import Any

from mg_lakehouse.demo.queue import EmbeddedQueue
from mg_lakehouse.settings import Settings
from mg_lakehouse.stores.drain import drain
from mg_lakehouse.stores.failpoints import Failpoint
from mg_lakehouse.stores.lake import Lake
from mg_lakehouse.stores.queue import EventQueue
from mg_lakehouse.stores.visibility import Heartbeat
from mg_lakehouse_tests.faults.scenarios import Died, at, die

POLICY = json.loads((Path(__file__).parents[2] / "deploy" / "iam-policy.json").read_text())


def allowed(service: str) -> set[str]:
    statements = [statement for statement in POLICY["Statement"] if statement["Effect"] == "Allow"]
    actions = [
        action
        for statement in statements
        for action in ([statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"])
    ]
    assert not any("*" in action for action in actions)
    return {action for action in actions if action.startswith(f"{service}:")}


def test_it_allows_exactly_what_the_code_calls_of_sqs(tmp_path: Path) -> None:
    """Looking, draining, extending, handing back. IAM knows no batch actions: they need the right of the single one."""
    called: set[str] = set()

    def note(params: dict[str, Any], model: Any, **_: Any) -> None:
        called.add(f"sqs:{re.sub('Batch$', '', model.name)}")

    with EmbeddedQueue() as embedded:
        client = embedded.client()
        client.meta.events.register("before-call.sqs", note)
        queue = EventQueue(client, embedded.queue_url)
        settings = Settings(wait_seconds=0, receivers=1)
        embedded.publish(["<ActivityItems/>"] * 12)
        drain(queue, Lake(str(tmp_path / "lake")), settings, max_messages=5, until_empty=False)
        held = queue.receive(at_most=1, wait_seconds=0, visibility_seconds=30).messages
        heartbeat = Heartbeat(queue, 30)
        heartbeat.hold(held[0].receipt_handle)
        heartbeat._extend()
        with at(Failpoint.COMMIT_LOOKED, die), contextlib.suppress(Died):
            drain(queue, Lake(str(tmp_path / "lake")), settings)
    assert called == allowed("sqs")
