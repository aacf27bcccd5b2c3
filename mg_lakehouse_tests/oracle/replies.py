"""The codes in what a mail server answered."""

from __future__ import annotations

import re

_REPLY = re.compile(
    r"(?:^|[:;\"(<\[]|\b(?:smtp|code|error|status|said|returned|replied|response|with))[\s:=#]*([45][0-5][0-9])(?![0-9A-Za-z]|\.[0-9])",
    re.IGNORECASE | re.ASCII,
)


def codes(text: str | None) -> tuple[int | None, str | None]:
    """SMTP reply code and enhanced status in a text (G50)."""
    status = re.search(r"(?<![0-9A-Za-z.])([45]\.[0-7]\.[0-9]{1,3})(?![0-9A-Za-z]|\.[0-9])", text or "")
    reply = re.search(r"(?<![0-9A-Za-z.])([45][0-5][0-9])[ -]+[#(<\[]?[45]\.[0-9]{1,3}\.[0-9]", text or "") or _REPLY.search(text or "")
    return (int(reply[1]) if reply else None), (status[1] if status else None)
