"""MessageGears' web service: one POST of a form, answered by a file or an XML document, and its errors classified.

The key is in the body of the POST and nowhere else: not in an address, a log or an error's text. Only a file has the header
``Content-Disposition``; a failed call has not. The status is 200 for both.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from lxml import etree
from pydantic import SecretStr

from mg_lakehouse._util.backoff import backoff_seconds
from mg_lakehouse._util.escaping import visible
from mg_lakehouse.errors import ConfigurationError, PermanentError, TransientError
from mg_lakehouse.settings import Settings

if TYPE_CHECKING:
    import requests

__all__ = ["Patience", "WebService", "child_texts", "missing_credentials", "open_web_service", "with_progress"]

T = TypeVar("T")

_CHUNK: Final = 2**20
_TOLD_BYTES: Final = 2**26
_DOCUMENT_BYTES: Final = 2**20
"""Size limit, in bytes, of an answer that is not a file."""

_PASSING: Final = re.compile(r"internal|server.?error|temporar|timed? ?out|throttl|overload", re.IGNORECASE)
"""Phrases of an error document after which a retry may help. Any other error is final: a key, a date, a type."""

_BUSY: Final = (408, 425, 429)
_PARSER: Final = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, recover=True)


class Patience(NamedTuple):
    """How often a call is tried, how long the first wait is (it doubles, with jitter), and how long an answer may stay silent."""

    attempts: int = 5
    first_wait_seconds: float = 2.0
    longest_wait_seconds: float = 60.0
    connect_seconds: float = 15.0
    silence_seconds: float = 180.0


_PATIENT: Final = Patience()


class WebService:
    """A client of one account."""

    def __init__(self, account_id: str, api_key: SecretStr, url: str, patience: Patience = _PATIENT) -> None:
        self._account_id = account_id
        self._api_key = api_key
        self._url = url
        self._patience = patience

    def download(
        self,
        what: str,
        form: Mapping[str, str],
        target: Path,
        check: Callable[[Path, bool], T],
        *,
        progress: Callable[[int], None] | None = None,
    ) -> T:
        """Fetch a file. ``target`` exists only once the file is whole.

        Args:
            what: the file, for error texts.
            form: parameters of the call without account and key.
            target: where to put it.
            check: reads the fetched file before it gets its name; its second argument states whether the answer marked its end.
                On its ``TransientError`` the file is fetched again.
            progress: called with the number of bytes so far, after every 64 MiB.

        Raises:
            PermanentError: the service refuses, or the answer is not a file.
            TransientError: no try brought a whole file.
        """
        part = target.with_name(f"{target.name}.part")

        def fetch() -> T:
            with self._answer(what, form) as response:
                if "Content-Disposition" not in response.headers:
                    raise self._no_file(what, response)
                _save(what, response, part, progress)
                ends = "Content-Length" in response.headers or response.headers.get("Transfer-Encoding") == "chunked"
            result = check(part, ends)
            part.replace(target)
            return result

        try:
            return self._patiently(what, fetch)
        finally:
            part.unlink(missing_ok=True)

    def document(self, what: str, form: Mapping[str, str]) -> etree._Element:
        """Request a document, and return its root.

        Raises:
            PermanentError: the service refuses, or answers with something else.
            TransientError: no try was answered.
        """

        def fetch() -> etree._Element:
            with self._answer(what, form) as response:
                text = response.raw.read(_DOCUMENT_BYTES, decode_content=True)
            root = _parsed(text)
            if (error := document_error(root)) is not None:
                raise self._refused(what, error)
            if root is None or not child_texts(root).get("Result"):
                raise PermanentError(f"{what} was answered with something other than MessageGears' documents: check MG_API_URL.")
            return root

        return self._patiently(what, fetch)

    def _patiently(self, what: str, call: Callable[[], T]) -> T:
        for attempt in range(self._patience.attempts):
            if attempt:
                time.sleep(backoff_seconds(attempt, first=self._patience.first_wait_seconds, longest=self._patience.longest_wait_seconds))
            try:
                return _classified(what, call)
            except TransientError:
                if attempt == self._patience.attempts - 1:
                    raise
        raise AssertionError("there is at least one attempt")

    def _answer(self, what: str, form: Mapping[str, str]) -> requests.Response:
        import requests  # noqa: PLC0415  whoever fetches no file does not pay the 0.2 s

        response = requests.post(
            self._url,
            data={**form, "AccountId": self._account_id, "ApiKey": self._api_key.get_secret_value()},
            headers={"Accept-Encoding": "identity"},
            timeout=(self._patience.connect_seconds, self._patience.silence_seconds),
            # A redirect would carry the key to wherever it points.
            allow_redirects=False,
            stream=True,
        )
        if response.status_code == requests.codes.ok:
            return response
        with response:
            status = response.status_code
            if status >= 500 or status in _BUSY:
                raise TransientError(f"{what} was answered with status {status} by MessageGears' web service: try again later.")
            if status in range(300, 400):
                raise PermanentError(f"{what} was answered with a redirect ({status}): correct MG_API_URL.")
            error = document_error(_parsed(response.raw.read(_DOCUMENT_BYTES, decode_content=True)))
            if error is not None:
                raise self._refused(what, error)
            raise PermanentError(f"{what} was refused with status {status}: check MG_API_URL, MG_ACCOUNT_ID and MG_API_KEY.")

    def _no_file(self, what: str, response: requests.Response) -> PermanentError | TransientError:
        error = document_error(_parsed(response.raw.read(_DOCUMENT_BYTES, decode_content=True)))
        if error is not None:
            return self._refused(what, error)
        kind = response.headers.get("Content-Type", "no type").partition(";")[0][:60]
        return PermanentError(f"{what} was answered with something that is neither a file nor an error ({kind}): check MG_API_URL.")

    def _refused(self, what: str, error: str) -> PermanentError | TransientError:
        message = visible(error.replace(self._api_key.get_secret_value(), "***"))[:300].rstrip(". ")
        if _PASSING.search(message):
            return TransientError(f"{what} failed at MessageGears ({message}): try again later.")
        return PermanentError(f"{what} was refused by MessageGears ({message}): check MG_ACCOUNT_ID, MG_API_KEY and the request.")


def open_web_service(settings: Settings, patience: Patience = _PATIENT) -> WebService:
    """Make a client of the account in the settings. Makes no call.

    Raises:
        ConfigurationError: account or key is not set.
    """
    missing = missing_credentials(settings)
    if missing or settings.account_id is None or settings.api_key is None:
        raise ConfigurationError(f"MessageGears' web service needs credentials: set {' and '.join(missing)}.")
    return WebService(settings.account_id, settings.api_key, settings.api_url, patience)


def missing_credentials(settings: Settings) -> tuple[str, ...]:
    """List the settings that the web service needs and that are not set."""
    needed = {"MG_ACCOUNT_ID": settings.account_id, "MG_API_KEY": settings.api_key}
    return tuple(name for name, value in needed.items() if not (value.get_secret_value() if isinstance(value, SecretStr) else value))


def document_error(root: etree._Element | None) -> str | None:
    """Return code and text of an error document's first error; ``None`` if it is not one."""
    if root is None:
        return None
    result = child_texts(root).get("Result", "")
    for node in root.iter():
        if isinstance(node.tag, str) and etree.QName(node).localname == "RequestError":
            error = child_texts(node)
            return (
                ": ".join(filter(None, (error.get("ErrorCode"), " ".join(error.get("ErrorMessage", "").split())))) or "no reason is given"
            )
    return None if result in ("", "REQUEST_SUCCESSFUL") else result


def child_texts(root: etree._Element) -> dict[str, str]:
    """Return the texts of an element's children by local name."""
    return {etree.QName(node).localname: (node.text or "").strip() for node in root if isinstance(node.tag, str)}


def _parsed(text: bytes) -> etree._Element | None:
    with suppress(etree.XMLSyntaxError, ValueError):
        root: etree._Element | None = etree.fromstring(text, _PARSER)
        return root
    return None


def with_progress(chunks: Iterable[bytes], progress: Callable[[int], None] | None) -> Iterator[bytes]:
    """Pass chunks through; ``progress`` is called with the number of bytes so far, after every 64 MiB."""
    length = 0
    for chunk in chunks:
        before, length = length, length + len(chunk)
        if progress is not None and length // _TOLD_BYTES > before // _TOLD_BYTES:
            progress(length)
        yield chunk


def _save(what: str, response: requests.Response, part: Path, progress: Callable[[int], None] | None) -> None:
    length = 0
    with part.open("wb") as file:
        part.chmod(0o600)
        for chunk in with_progress(response.iter_content(_CHUNK), progress):
            file.write(chunk)
            length += len(chunk)
    announced = response.headers.get("Content-Length")
    if announced is not None and announced.isdigit() and length != int(announced) and "Content-Encoding" not in response.headers:
        raise TransientError(f"{what} was cut off: {length:,} of {int(announced):,} bytes came. Try again.")


def _classified(what: str, call: Callable[[], T]) -> T:
    """Make a call. Errors of the connection are classified, without their texts, which hold the address."""
    import requests  # noqa: PLC0415

    try:
        return call()
    except requests.exceptions.SSLError:
        raise PermanentError(f"{what} cannot be fetched safely: the certificate of MG_API_URL's server is not valid here.") from None
    except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema, requests.exceptions.MissingSchema):
        raise ConfigurationError("MG_API_URL is not the address of a web service: correct it.") from None
    except requests.exceptions.RequestException as error:
        raise TransientError(f"{what} was not answered ({type(error).__name__}): check the network and MG_API_URL, or try again.") from None
    except OSError as error:
        if type(error).__module__.startswith("urllib3"):
            raise TransientError(f"{what} was cut off ({type(error).__name__}): try again.") from None
        raise PermanentError(
            f"{what} cannot be written to a temporary file ({error.strerror or type(error).__name__}): check TMPDIR."
        ) from error
