"""What lies between a company's machine and its object store: a server whose certificate is of the company's own authority, and a proxy for HTTPS."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import trustme

__all__ = ["https_front", "https_proxy"]

HOST = "127.0.0.1"


@contextmanager
def https_front(upstream: str, certificates: Path) -> Iterator[str]:
    """Answer HTTPS in front of an HTTP server, under the name ``localhost``; yields the address. ``certificates`` gets the authority's certificate."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(certificates))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    place = urlsplit(upstream)

    def serve(client: socket.socket) -> None:
        with (
            context.wrap_socket(client, server_side=True) as secured,
            socket.create_connection((place.hostname or HOST, place.port or 80)) as server,
        ):
            _join(secured, server)

    with _listening(serve) as port:
        yield f"https://localhost:{port}"


@contextmanager
def https_proxy() -> Iterator[tuple[str, list[str]]]:
    """Pass on what is asked by ``CONNECT``; yields the address, and where each connection went."""
    asked: list[str] = []

    def serve(client: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += client.recv(65536)
        method, target, _ = head.decode().split(" ", 2)
        if method != "CONNECT":
            client.sendall(b"HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n")
            return
        asked.append(target)
        host, _, port = target.rpartition(":")
        with socket.create_connection((host, int(port))) as server:
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            _join(client, server)

    with _listening(serve) as port:
        yield f"http://{HOST}:{port}", asked


@contextmanager
def _listening(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    def answer(client: socket.socket) -> None:
        # Whoever does not trust the certificate goes away in the middle.
        with suppress(OSError), client:
            serve(client)

    def accept() -> None:
        with suppress(OSError):  # closed
            while True:
                client, _ = listener.accept()
                threading.Thread(target=answer, args=(client,), daemon=True).start()

    with socket.create_server((HOST, 0), backlog=128) as listener:
        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]


def _join(one: socket.socket, other: socket.socket) -> None:
    """Pass on what each says, until one ends."""

    def pump(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while piece := source.recv(65536):
                target.sendall(piece)
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    back = threading.Thread(target=pump, args=(other, one), daemon=True)
    back.start()
    pump(one, other)
    back.join(timeout=5)
