"""What moto's SQS holds, seen from behind: every message that is not deleted, and the power to end its visibility timeout."""

from __future__ import annotations

from typing import Any

from moto.sqs.models import sqs_backends

from mg_lakehouse.demo.queue import EmbeddedQueue

__all__ = ["expire", "kept"]


def kept(queue: EmbeddedQueue) -> list[str]:
    """Ids of the messages that are not deleted, whether they wait or are in flight."""
    return [message.id for message in _messages(queue)]


def expire(queue: EmbeddedQueue) -> None:
    """End every visibility timeout, as if it were over."""
    for message in _messages(queue):
        message.change_visibility(0)


def _messages(queue: EmbeddedQueue) -> list[Any]:
    account, name = queue.queue_url.split("/")[-2:]
    messages: list[Any] = sqs_backends[account]["us-east-1"].queues[name]._messages
    return messages
