"""A lake behind a company's network: its certificates and its proxy hold for all that reads and writes the lake."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from mg_lakehouse.testing.s3 import S3Server
from mg_lakehouse_tests.cli.commands import environment
from mg_lakehouse_tests.standins.network import https_front, https_proxy

pytestmark = pytest.mark.s3

# Each library in turn: delta-rs writes and opens, obstore lists, Polars and DuckDB read, boto3 lists, and DuckDB reads in the process of ad hoc SQL.
PROGRAM: Final = """
import os, sys
import boto3
import polars as pl
from mg_lakehouse.errors import LakehouseError
from mg_lakehouse.lake import duck
from mg_lakehouse.lake.file_stats import all_files
from mg_lakehouse.lake.lake import Lake
from mg_lakehouse.lake.snapshot import scan
from mg_lakehouse.serving.sandbox.sandbox import ad_hoc
from mg_lakehouse.settings import Settings
from mg_lakehouse_tests.lake.feeds import bundles, receive

lake = Lake(os.environ["MG_LAKE_URI"])
try:
    receive(lake, bundles(3))
except LakehouseError as error:
    sys.exit(str(error))
handle = lake.open("bronze", "event_feed")
print(sorted(lake.written("bronze")), lake.scan(all_files(handle), handle).select(pl.len()).collect().item())
connection = duck.connect(lake)
print(connection.execute(f"select count(*) from {scan(handle)}").fetchone()[0])
print(connection.execute(f"select count(*) from delta_scan('{lake.uri_of('bronze', 'event_feed')}')").fetchone()[0])
print("bucket" if boto3.client("s3").head_bucket(Bucket=lake.uri.split("/")[2]) else "")
with ad_hoc(lake, Settings(lake_uri=lake.uri, pii_key="k" * 40)) as query:
    print(query.rows("select count(*) as n from bronze.event_feed").read_all().to_pylist()[0]["n"])
"""

ANSWER: Final = ["['event_feed'] 3", "3", "3", "bucket", "3"]


def run(server: S3Server, name: str, home: Path, address: str, **variables: str) -> subprocess.CompletedProcess[str]:
    of_network = {name for name in os.environ if name.upper().startswith(("SSL_", "CURL_", "REQUESTS_")) or name.upper().endswith("_PROXY")}
    own = server.environment | {"AWS_ENDPOINT_URL_S3": address, "HOME": str(home), "MG_LAKE_URI": f"{server.make_bucket(name)}/lake"}
    given = {name: value for name, value in environment(home, **own).items() if name not in of_network} | variables
    return subprocess.run([sys.executable, "-c", PROGRAM], env=given, capture_output=True, text=True, check=False, timeout=120)


def test_the_certificates_of_a_company_are_trusted_by_all(s3_server: S3Server, tmp_path: Path) -> None:
    trusted = tmp_path / "authority.pem"
    with https_front(s3_server.endpoint_url, trusted) as address:
        done = run(s3_server, "trusted", tmp_path, address, AWS_CA_BUNDLE=str(trusted))
    assert (done.stdout.splitlines(), done.returncode) == (ANSWER, 0), done.stderr


def test_those_of_the_profile_are_too(s3_server: S3Server, tmp_path: Path) -> None:
    trusted = tmp_path / "authority.pem"
    (tmp_path / "config").write_text(f"[default]\nca_bundle = {trusted}\n")
    with https_front(s3_server.endpoint_url, trusted) as address:
        done = run(s3_server, "trusted-by-profile", tmp_path, address, AWS_CONFIG_FILE=str(tmp_path / "config"))
    assert (done.stdout.splitlines(), done.returncode) == (ANSWER, 0), done.stderr


def test_one_that_is_not_trusted_is_said_with_the_remedy(s3_server: S3Server, tmp_path: Path) -> None:
    with https_front(s3_server.endpoint_url, tmp_path / "authority.pem") as address:
        done = run(s3_server, "not-trusted", tmp_path, address)
    assert done.returncode == 1
    assert done.stderr.strip().endswith(
        "cannot be reached: the store's certificate is not trusted. Set AWS_CA_BUNDLE to the file of the certificates that your network uses."
    )


def test_all_go_through_the_proxy(s3_server: S3Server, tmp_path: Path) -> None:
    """Its name is one that only the proxy is asked for."""
    trusted = tmp_path / "authority.pem"
    with https_front(s3_server.endpoint_url, trusted) as address, https_proxy() as (proxy, asked):
        done = run(s3_server, "through-a-proxy", tmp_path, address, AWS_CA_BUNDLE=str(trusted), HTTPS_PROXY=proxy)
    assert (done.stdout.splitlines(), done.returncode) == (ANSWER, 0), done.stderr
    assert set(asked) == {address.removeprefix("https://")}
    assert len(asked) >= len(ANSWER)  # each library has connections of its own
