from collections.abc import Sequence

TYPES: tuple[str, ...]

class Grammar:
    def __init__(
        self,
        items: Sequence[str],
        children: Sequence[str],
        tables: Sequence[str],
        kinds: Sequence[tuple[int, int, int, int, int]],
        unknown: int,
        slots: Sequence[tuple[int, int, bool, int, int, int, int]],
        slot_of: Sequence[int],
        extras: Sequence[Sequence[int]],
        code: int,
        message: int,
    ) -> None: ...

class Scanned:
    states: bytearray
    counts: bytearray
    @property
    def rows(self) -> list[int]: ...
    def odd(self) -> list[tuple[int, int, int, int, int, int, int]]: ...
    def places(self) -> list[tuple[bytearray, bytearray, bytearray]]: ...
    def columns(self, tables: Sequence[int]) -> dict[int, tuple[bytearray, ...]]: ...

def scan(grammar: Grammar, data: memoryview, offsets: memoryview, *, cut: bool = False) -> Scanned: ...
