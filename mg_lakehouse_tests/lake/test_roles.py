"""Each way in which AWS gives credentials, against a stand-in of its endpoint: found, refreshed at each expiry, and asked for no oftener."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar, Final
from urllib.parse import parse_qs, urlsplit

import pytest

LOOKS: Final = 6
EXPIRIES: Final = 3

# Waits for nothing: what expires within ten minutes is refreshed at the next look.
CHILD: Final = f"""
import json
from mg_lakehouse.location import Location
lake = Location("s3://bucket/lake")
print(json.dumps([lake.storage_options() for _ in range({LOOKS})]))
"""

PASSED: Final = ("PATH", "PYTHONPATH", "LANG", "VIRTUAL_ENV")


class _Endpoint(BaseHTTPRequestHandler):
    """STS, the agents of containers and pods, the metadata of an instance, and IAM Identity Center: each gives numbered keys to whoever shows its secret."""

    given: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        action = form["Action"][0]
        signed_by_user = "Credential=user/" in self.headers.get("Authorization", "")
        if (action == "AssumeRole" and not signed_by_user) or (
            action == "AssumeRoleWithWebIdentity" and form["WebIdentityToken"] != ["the pod's token"]
        ):
            self.refuse()
        else:
            key, expires = self.next_key(action)
            keys = f"<AccessKeyId>{key}</AccessKeyId><SecretAccessKey>secret</SecretAccessKey><SessionToken>session</SessionToken>"
            credentials = f"<Credentials>{keys}<Expiration>{expires.isoformat()}</Expiration></Credentials>"
            self.answer(f"<{action}Response><{action}Result>{credentials}</{action}Result></{action}Response>", "text/xml")

    def do_PUT(self) -> None:
        self.answer("metadata-token" if self.path == "/latest/api/token" else "", "text/plain")

    def do_GET(self) -> None:
        place = urlsplit(self.path).path
        asked: dict[str, tuple[str | None, str]] = {
            "/container": (self.headers.get("Authorization"), "the container's token"),
            "/latest/meta-data/iam/security-credentials/": (self.headers.get("x-aws-ec2-metadata-token"), "metadata-token"),
            "/latest/meta-data/iam/security-credentials/feed": (self.headers.get("x-aws-ec2-metadata-token"), "metadata-token"),
            "/federation/credentials": (self.headers.get("x-amz-sso_bearer_token"), "the user's token"),
        }
        shown, wanted = asked[place]
        if shown != wanted:
            self.refuse()
        elif place.endswith("/security-credentials/"):
            self.answer("feed", "text/plain")
        else:
            key, expires = self.next_key(place)
            if place == "/federation/credentials":
                keys: dict[str, Any] = {
                    "roleCredentials": {
                        "accessKeyId": key,
                        "secretAccessKey": "secret",
                        "sessionToken": "session",
                        "expiration": int(expires.timestamp() * 1000),
                    }
                }
            else:
                keys = {
                    "Code": "Success",
                    "AccessKeyId": key,
                    "SecretAccessKey": "secret",
                    "Token": "session",
                    "Expiration": expires.strftime("%Y-%m-%dT%H:%M:%SZ"),
                }
            self.answer(json.dumps(keys), "application/json")

    def next_key(self, what: str) -> tuple[str, datetime]:
        """The first ones expire soon."""
        self.given.append(what)
        number = len(self.given)
        return f"key{number}", datetime.now(UTC) + (timedelta(minutes=1) if number <= EXPIRIES else timedelta(hours=6))

    def refuse(self) -> None:
        self.send_error(403)

    def answer(self, body: str, content_type: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.send_header("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "21600")
        self.send_header("Content-Length", str(len(body.encode())))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def endpoint() -> Iterator[tuple[str, list[str]]]:
    given: list[str] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Endpoint", (_Endpoint,), {"given": given}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", given
    finally:
        server.shutdown()
        server.server_close()


def assumed_role(home: Path, url: str) -> Mapping[str, str]:
    (home / ".aws/config").write_text("[default]\nrole_arn = arn:aws:iam::123456789012:role/feed\nsource_profile = user\n")
    (home / ".aws/credentials").write_text("[user]\naws_access_key_id = user\naws_secret_access_key = x\n")
    return {"AWS_ENDPOINT_URL_STS": url}


def web_identity(home: Path, url: str) -> Mapping[str, str]:
    (home / "token").write_text("the pod's token")
    return {
        "AWS_ENDPOINT_URL_STS": url,
        "AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/feed",
        "AWS_WEB_IDENTITY_TOKEN_FILE": str(home / "token"),
    }


def pod_identity(home: Path, url: str) -> Mapping[str, str]:
    (home / "token").write_text("the container's token")
    return {"AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{url}/container", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(home / "token")}


def container(home: Path, url: str) -> Mapping[str, str]:
    return {"AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{url}/container", "AWS_CONTAINER_AUTHORIZATION_TOKEN": "the container's token"}


def instance_role(home: Path, url: str) -> Mapping[str, str]:
    return {"AWS_EC2_METADATA_SERVICE_ENDPOINT": url}


def identity_center(home: Path, url: str) -> Mapping[str, str]:
    start = "https://portal.example"
    (home / ".aws/config").write_text(
        f"[default]\nsso_start_url = {start}\nsso_region = eu-west-1\nsso_account_id = 123456789012\nsso_role_name = feed\n"
    )
    cache = home / ".aws/sso/cache"
    cache.mkdir(parents=True)
    expires = (datetime.now(UTC) + timedelta(hours=8)).strftime("%Y-%m-%dT%H:%M:%SZ")
    token = {"startUrl": start, "region": "eu-west-1", "accessToken": "the user's token", "expiresAt": expires}
    (cache / f"{hashlib.sha1(start.encode(), usedforsecurity=False).hexdigest()}.json").write_text(json.dumps(token))
    return {"AWS_ENDPOINT_URL_SSO": url}


WAYS: Final = (assumed_role, web_identity, pod_identity, container, instance_role, identity_center)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_credentials_of_a_role_live_through_their_expiries(way: Callable[[Path, str], Mapping[str, str]], tmp_path: Path) -> None:
    (tmp_path / ".aws").mkdir()
    with endpoint() as (url, given):
        environment = {name: os.environ[name] for name in PASSED if name in os.environ}
        environment |= {"HOME": str(tmp_path), "AWS_DEFAULT_REGION": "eu-west-1", **way(tmp_path, url)}
        done = subprocess.run([sys.executable, "-c", CHILD], env=environment, capture_output=True, text=True, check=True, timeout=60)
    looks = json.loads(done.stdout)
    numbers = [int(look["aws_access_key_id"].removeprefix("key")) for look in looks]
    assert {look["aws_session_token"] for look in looks} == {"session"}
    if way is instance_role:
        # botocore goes on with what an instance's metadata gave for a quarter of an hour longer: they are slow to have the next at times.
        assert (numbers, len(given)) == ([1] * LOOKS, 1)
    else:
        # Keys of a minute are of one look; where the first are fetched before anybody looks, of none.
        assert numbers in ([1, 2, 3, 4, 4, 4], [2, 3, 4, 4, 4, 4])
        assert len(given) == EXPIRIES + 1
