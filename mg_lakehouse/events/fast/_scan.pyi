from collections.abc import Sequence

TYPES: tuple[str, ...]

class Grammar:
    def __init__(
        self,
        items: Sequence[str],
        tables: Sequence[int],
        table_count: int,
        children: Sequence[str],
        slots: Sequence[int],
        bits: Sequence[int],
        types: Sequence[int],
        needed: Sequence[int],
        one_of: Sequence[int],
    ) -> None: ...

class Scanned:
    plain: bytearray
    counts: bytearray
    @property
    def rows(self) -> list[int]: ...
    def odd(self) -> list[tuple[int, int, int, int, int]]: ...
    def places(self) -> list[tuple[bytearray, bytearray]]: ...
    def columns(self, tables: Sequence[int]) -> dict[int, tuple[bytearray, ...]]: ...

def scan(grammar: Grammar, data: memoryview, offsets: memoryview) -> Scanned: ...
