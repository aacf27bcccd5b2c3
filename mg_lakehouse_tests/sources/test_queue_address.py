"""The region that a queue's address names, where neither a setting nor the environment says one."""

from __future__ import annotations

import os

import pytest

from mg_lakehouse.sources.sqs import queue_client


@pytest.fixture(autouse=True)
def no_region(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "/nonexistent")


@pytest.mark.parametrize(
    ("host", "region"),
    [
        ("sqs.eu-west-1.amazonaws.com", "eu-west-1"),
        ("SQS.EU-WEST-1.AMAZONAWS.COM", "eu-west-1"),
        ("sqs.cn-north-1.amazonaws.com.cn", "cn-north-1"),
        ("sqs.us-gov-west-1.amazonaws.com", "us-gov-west-1"),
        ("sqs.eusc-de-east-1.amazonaws.eu", "eusc-de-east-1"),
        ("sqs.us-iso-east-1.c2s.ic.gov", "us-iso-east-1"),
        # VPC endpoints: by name, and in one zone. An old id looks like a region.
        ("vpce-0a1b2c3d4e5f60718-x1y2z3.sqs.ap-south-1.vpce.amazonaws.com", "ap-south-1"),
        ("vpce-0a1b2c3d4e5f60718-x1y2z3-us-east-2a.sqs.us-east-2.vpce.amazonaws.com", "us-east-2"),
        ("vpce-abcdefab-12345678.sqs.sa-east-1.vpce.amazonaws.com", "sa-east-1"),
        # FIPS, dual stack, both.
        ("sqs-fips.us-west-2.amazonaws.com", "us-west-2"),
        ("sqs.eu-central-1.api.aws", "eu-central-1"),
        ("sqs-fips.us-east-2.api.aws", "us-east-2"),
        ("sqs.cn-northwest-1.api.amazonwebservices.com.cn", "cn-northwest-1"),
        # What SQS was called first.
        ("queue.amazonaws.com", "us-east-1"),
        ("eu-west-1.queue.amazonaws.com", "eu-west-1"),
        ("us-gov-west-1.queue.amazonaws.com", "us-gov-west-1"),
        ("cn-north-1.queue.amazonaws.com.cn", "cn-north-1"),
        # Emulators.
        ("sqs.eu-west-3.localhost.localstack.cloud:4566", "eu-west-3"),
        ("eu-west-3.queue.localhost.localstack.cloud:4566", "eu-west-3"),
        ("127.0.0.1:9324", "us-east-1"),
        ("sqs:9324", "us-east-1"),
        ("sqs.internal.example.com", "us-east-1"),
    ],
)
def test_a_queues_address_names_its_region(host: str, region: str) -> None:
    assert queue_client(f"https://{host}/123456789012/events").meta.region_name == region


def test_the_environment_goes_before_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-north-1")
    assert queue_client("https://sqs.eu-west-1.amazonaws.com/123456789012/events").meta.region_name == "eu-north-1"
