"""Errors of SQS: the shape's name of the JSON protocol, and the older code that boto3 shows.

SQS speaks "AWS JSON 1.0" and is query compatible: the header ``x-amzn-query-error`` carries the code that the
query protocol had, which botocore puts into ``Error.Code``. Names, codes and states are those of botocore's service
model of SQS (2012-11-05).
"""

from __future__ import annotations

from typing import Final

__all__ = ["SqsError", "invalid"]

_PREFIX: Final = "AWS.SimpleQueueService."
_PREFIXED: Final = {
    "BatchEntryIdsNotDistinct",
    "BatchRequestTooLong",
    "EmptyBatchRequest",
    "InvalidBatchEntryId",
    "MessageNotInflight",
    "TooManyEntriesInBatchRequest",
    "PurgeQueueInProgress",
}
_OTHER: Final = {"QueueDoesNotExist": "AWS.SimpleQueueService.NonExistentQueue", "QueueNameExists": "QueueAlreadyExists"}


class SqsError(Exception):
    """An error that the server answers with; ``sender`` says whose fault it is."""

    def __init__(self, shape: str, message: str, *, status: int = 400, sender: bool = True) -> None:
        super().__init__(message)
        self.shape = shape
        self.message = message
        self.status = status
        self.sender = sender

    @property
    def code(self) -> str:
        """What boto3 shows."""
        return _OTHER.get(self.shape, f"{_PREFIX}{self.shape}" if self.shape in _PREFIXED else self.shape)


def invalid(name: str, value: object, reason: str) -> SqsError:
    """A parameter's value that SQS refuses."""
    return SqsError("InvalidParameterValue", f"Value {value} for parameter {name} is invalid. Reason: {reason}")
