"""What an IAM policy allows, for the few forms that this project's has; and which right each S3 request needs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qs

from mg_lakehouse.testing.s3_proxy import Request

__all__ = ["Policy", "Right", "rights_of"]

_FOLDER: Final = Path(__file__).parents[2] / "deploy"


class Right(NamedTuple):
    """An action on a resource; ``prefix`` is the condition key ``s3:prefix``, which only a listing has, ``via`` is ``kms:ViaService``."""

    action: str
    resource: str
    prefix: str | None = None
    via: str | None = None


class Policy:
    """A policy in ``deploy/``, its placeholders filled in."""

    def __init__(self, placeholders: Mapping[str, str], file: str = "iam-policy.json") -> None:
        text = (_FOLDER / file).read_text()
        for name, value in placeholders.items():
            text = text.replace(name, value)
        self._statements: list[dict[str, Any]] = json.loads(text)["Statement"]
        assert {statement["Effect"] for statement in self._statements} == {"Allow"}

    def actions(self, service: str) -> set[str]:
        """The actions of a service, each named in full."""
        actions = {action for statement in self._statements for action in _list(statement["Action"])}
        assert not any("*" in action for action in actions)
        return {action for action in actions if action.startswith(f"{service}:")}

    def allowing(self, right: Right) -> list[str]:
        """Ids of the statements that give a right."""
        return [
            statement["Sid"]
            for statement in self._statements
            if right.action in _list(statement["Action"])
            and any(fnmatchcase(right.resource, pattern) for pattern in _list(statement["Resource"]))
            and _holds(statement.get("Condition", {}), right)
        ]

    @property
    def ids(self) -> set[str]:
        """Ids of all statements."""
        return {statement["Sid"] for statement in self._statements}


def _list(value: str | Sequence[str]) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


def _holds(conditions: Mapping[str, Mapping[str, Any]], right: Right) -> bool:
    """A key that a request does not have makes `StringLike` false, and `Null` true (IAM user guide, "Condition operators")."""
    for operator, keys in conditions.items():
        match operator:
            case "StringEquals":
                assert set(keys) == {"kms:ViaService"}
                if right.via != keys["kms:ViaService"]:
                    return False
                continue
            case _:
                assert set(keys) == {"s3:prefix"}
        match operator:
            case "StringLike":
                holds = right.prefix is not None and any(fnmatchcase(right.prefix, pattern) for pattern in _list(keys["s3:prefix"]))
            case "Null":
                holds = (right.prefix is None) == (keys["s3:prefix"] == "true")
            case _:
                raise AssertionError(f"The tests do not know {operator}.")
        if not holds:
            return False
    return True


def rights_of(request: Request) -> Iterator[Right]:
    """The rights that a request needs (S3 user guide, "Required permissions for Amazon S3 API operations")."""
    bucket, _, key = request.path.lstrip("/").partition("/")
    bucket_arn, query = f"arn:aws:s3:::{bucket}", parse_qs(request.query, keep_blank_values=True)
    object_arn = f"{bucket_arn}/{key}"
    match request.method, bool(key):
        case "GET", False if "list-type" in query:
            yield Right("s3:ListBucket", bucket_arn, query["prefix"][0] if "prefix" in query else None)
        case "POST", False if "delete" in query:
            yield from (Right("s3:DeleteObject", f"{bucket_arn}/{each}") for each in request.keys)
        case (("GET" | "HEAD"), True) if "uploadId" not in query:
            yield Right("s3:GetObject", object_arn)
            if request.status == 404:
                # "If you have the s3:ListBucket permission on the bucket, Amazon S3 returns 404, if you don't, 403" (GetObject); and 403
                # would end what a missing `_last_checkpoint` does not.
                yield Right("s3:ListBucket", bucket_arn)
        case (("PUT" | "POST"), True):
            yield Right("s3:PutObject", object_arn)  # whole, or begun, continued and completed in parts
        case "DELETE", True:
            yield Right("s3:AbortMultipartUpload" if "uploadId" in query else "s3:DeleteObject", object_arn)
        case _:
            raise AssertionError(f"The tests do not know which right this needs: {request}")
