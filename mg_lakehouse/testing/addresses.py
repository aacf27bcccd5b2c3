"""Where the emulators answer and with which credentials they are called. Imports nothing that takes time."""

from __future__ import annotations

import os
import socket
from contextlib import ExitStack
from typing import Final

__all__ = ["ACCESS_KEY", "HOST", "REGION", "SECRET_KEY", "free_ports", "past_proxies", "s3_environment"]

HOST: Final = "127.0.0.1"
REGION: Final = "us-east-1"
ACCESS_KEY: Final = "test-id"
SECRET_KEY: Final = "test-secret"  # noqa: S105 - a dummy


def past_proxies() -> dict[str, str]:
    """The variables that keep calls to the emulators from a proxy of the environment; exceptions that it has already are kept.

    Both spellings: where both are set, Python goes by the lower one.
    """
    known = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    exceptions = [known] if HOST in known.split(",") else [*filter(None, (known,)), HOST]
    return dict.fromkeys(("NO_PROXY", "no_proxy"), ",".join(exceptions))


def s3_environment(endpoint_url: str) -> dict[str, str]:
    """The standard variables for an S3 endpoint with the server's credentials, for S3 and nothing else."""
    return {
        "AWS_ENDPOINT_URL_S3": endpoint_url,
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_REGION": REGION,
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        "AWS_EC2_METADATA_DISABLED": "true",
        **past_proxies(),
    }


def free_ports(count: int) -> list[int]:
    """Ports that nobody uses now. Held together until all are known, so that none comes twice."""
    with ExitStack() as stack:
        held = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in held:
            each.bind((HOST, 0))
        return [each.getsockname()[1] for each in held]
