"""The people of the demo: stable ids, addresses, phones and devices, none of which can be anybody's.

Local parts start with ``example.``, phone numbers are of the range 555-0100 to 555-0199 that is kept for
fiction, and addresses of the internet come from the ranges that RFC 5737 keeps for documentation.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from random import Random
from typing import Final

__all__ = ["BROWSERS", "PREFETCH", "SCANNERS", "Person", "ip_address", "person"]

_GIVEN: Final = ("ana", "bruno", "chloe", "dmitri", "eleni", "farid", "grace", "hiro", "ines", "jonas", "kofi", "lucia", "mateo", "noor")
# Domain and its share in percent.
_DOMAINS: Final = (
    ("gmail.com", 38),
    ("yahoo.com", 14),
    ("outlook.com", 9),
    ("hotmail.com", 8),
    ("icloud.com", 12),
    ("aol.com", 5),
    ("comcast.net", 4),
    ("example.com", 4),
    ("post.example.org", 3),
    ("bücher.example", 1),
    ("Mail.Example.NET", 2),
)
_NAMES: Final = tuple(name for name, _ in _DOMAINS)
_SHARES: Final = tuple(share for _, share in _DOMAINS)

PREFETCH: Final = "Mozilla/5.0"
"""The bare user agent with which Apple's mail privacy fetches images ahead of the reader."""

BROWSERS: Final = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Safari/605.1.15",
    "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)",
    "YahooMailProxy; https://help.yahoo.com/kb/yahoo-mail-proxy-SLN28749.html",
    "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Mobile Safari/537.36",
)
SCANNERS: Final = (
    "Mozilla/5.0 (compatible; Barracuda Sentinel)",
    "Mozilla/5.0 (Windows NT 10.0) proofpoint-urldefense/2.1",
    "Mimecast-URL-Protect/3.0",
    "Symantec.cloud link scanner",
)
_NETWORKS: Final = ("192.0.2", "198.51.100", "203.0.113")


@dataclass(frozen=True, slots=True)
class Person:
    """A recipient. ``recipient_id`` is ``None`` where the sender keeps none; ``email`` may be a hash of the address."""

    recipient_id: str | None
    email: str
    domain: str
    phone: str
    device: str
    service: str


def person(index: int, rng: Random) -> Person:
    """The person number ``index``; every 40th shares the previous one's address, as couples do."""
    shared = index % 40 == 39
    address_index = index - 1 if shared else index
    domain = _domain(address_index)
    email = f"example.{_GIVEN[address_index % len(_GIVEN)]}.{address_index:05d}@{domain}"
    # A sender may hash addresses; such a recipient has no readable domain.
    if index % 67 == 66:
        email = hashlib.sha256(email.encode()).hexdigest()
    number = index % 70_000
    return Person(
        recipient_id=None if index % 8 == 5 else f"R-{100_000 + index}",
        email=email,
        domain=domain,
        phone=f"+1{200 + number // 100}55501{number % 100:02d}",
        device=f"{rng.getrandbits(256):064x}",
        service=("APNS", "FCM", "FCM", "APNS_SANDBOX", "apns")[index % 5],
    )


def _domain(index: int) -> str:
    """The domain of an address: by index, so that two people of one address agree on it."""
    return Random(index).choices(_NAMES, _SHARES)[0]


def ip_address(rng: Random) -> str:
    """An address of the documentation ranges."""
    return f"{_NETWORKS[rng.randrange(3)]}.{rng.randrange(1, 255)}"
