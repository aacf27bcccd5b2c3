"""Where the stand-ins are, and with which credentials; without any import that takes time."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from typing import Final

__all__ = ["ACCESS_KEY", "HOST", "REGION", "SECRET_KEY", "environment_of", "free_ports"]

HOST: Final = "127.0.0.1"
REGION: Final = "us-east-1"
ACCESS_KEY: Final = "test-id"
SECRET_KEY: Final = "test-secret"


def environment_of(endpoint_url: str) -> dict[str, str]:
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
        "NO_PROXY": HOST,
    }


def free_ports(count: int) -> list[int]:
    """Ports that nobody uses now. Held together until all are known, so that none comes twice."""
    with ExitStack() as stack:
        held = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in held:
            each.bind((HOST, 0))
        return [each.getsockname()[1] for each in held]
