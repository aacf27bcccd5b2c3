"""Landlock: the Linux kernel permanently restricts this process's access to files and the network.

It restricts the calling thread and all threads that it starts later, so call it before any library starts a thread. It cannot be undone, and it
needs no privileges. On a system without it (Linux before 5.13, or another system), ``abi()`` is 0 and nothing is restricted.

Source: https://docs.kernel.org/userspace-api/landlock.html
"""

from __future__ import annotations

import ctypes
import os
import stat
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Final

__all__ = ["NETWORK_ABI", "abi", "restrict"]

NETWORK_ABI: Final = 4
"""The first version that restricts TCP (Linux 6.7)."""

_CREATE_RULESET: Final = 444  # these syscall numbers are the same on every architecture with Python wheels
_ADD_RULE: Final = 445
_RESTRICT_SELF: Final = 446
_VERSION_FLAG: Final = 1
_PATH_RULE: Final = 1
_PORT_RULE: Final = 2
_PR_SET_NO_NEW_PRIVS: Final = 38

_WRITE_FILE: Final = 1 << 1
_READ_FILE: Final = 1 << 2
_READ_DIR: Final = 1 << 3
_TRUNCATE: Final = 1 << 14
_ALL_OF_ABI: Final = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}
"""File access rights of each version, from execution to device control."""

_READING: Final = _READ_FILE | _READ_DIR
_WRITING: Final = _ALL_OF_ABI[3] & ~1  # all but execution
_OF_A_FILE: Final = _READ_FILE | _WRITE_FILE | _TRUNCATE

_BIND_TCP: Final = 1 << 0
_CONNECT_TCP: Final = 1 << 1
_SCOPES: Final = 0b11
"""From version 6: no abstract socket of, and no signal to, a process outside."""


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _PathRule(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("descriptor", ctypes.c_int32))


class _PortRule(ctypes.Structure):
    _fields_ = (("allowed", ctypes.c_uint64), ("port", ctypes.c_uint64))


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _call(number: int, *arguments: object) -> int:
    return int(_libc().syscall(ctypes.c_long(number), *arguments))


def abi() -> int:
    """Return this kernel's Landlock version, 0 for none."""
    return max(0, _call(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_VERSION_FLAG))) if sys.platform == "linux" else 0


def restrict(*, readable: Iterable[Path], writable: Iterable[Path], ports: Iterable[int]) -> int:
    """Restrict this thread, and threads that it starts, to files below some paths and outgoing TCP to some ports. Return Landlock's version.

    Paths that do not exist are ignored: nothing can be read there later either. Nothing can be executed. Version 4 and later restrict the
    network, only TCP; before that, ``ports`` has no effect.

    Raises:
        OSError: the kernel has Landlock and refuses a rule.
    """
    version = abi()
    if version == 0:
        return 0
    files = _ALL_OF_ABI[max(known for known in _ALL_OF_ABI if known <= version)]
    network = _BIND_TCP | _CONNECT_TCP if version >= NETWORK_ABI else 0
    asked = _Ruleset(files, network, _SCOPES if version >= 6 else 0)
    size = 8 if version < NETWORK_ABI else 16 if version < 6 else 24
    ruleset = _done(_call(_CREATE_RULESET, ctypes.byref(asked), ctypes.c_size_t(size), ctypes.c_uint32(0)))
    try:
        for paths, rights in ((readable, _READING), (writable, _READING | _WRITING)):
            for path in paths:
                _allow_path(ruleset, path, rights & files)
        if network:
            for port in ports:
                rule = _PortRule(_CONNECT_TCP, port)
                _done(_call(_ADD_RULE, ctypes.c_int(ruleset), ctypes.c_int(_PORT_RULE), ctypes.byref(rule), ctypes.c_uint32(0)))
        _done(_libc().prctl(_PR_SET_NO_NEW_PRIVS, *(ctypes.c_ulong(value) for value in (1, 0, 0, 0))))
        _done(_call(_RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint32(0)))
    finally:
        os.close(ruleset)
    return version


def _allow_path(ruleset: int, path: Path, rights: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return
    try:
        kept = rights if stat.S_ISDIR(os.fstat(descriptor).st_mode) else rights & _OF_A_FILE
        rule = _PathRule(kept, descriptor)
        _done(_call(_ADD_RULE, ctypes.c_int(ruleset), ctypes.c_int(_PATH_RULE), ctypes.byref(rule), ctypes.c_uint32(0)))
    finally:
        os.close(descriptor)


def _done(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
