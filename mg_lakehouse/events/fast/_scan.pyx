# cython: language_level=3, boundscheck=True, wraparound=False
"""The scanner of the fast path: reads items in one pass over the bytes of a batch, without the interpreter's lock.

:mod:`mg_lakehouse.events.fast.reader`, its only user, says what becomes of what it leaves to others. The scanner judges what it reads byte by byte: it
takes what is surely well-formed, cuts what is surely not, and gives up on what it cannot judge. Every read is checked against the end of the body,
and what is written is counted beforehand or checked against its room.

It is one module in several files, lowest first: what is written down (`_memory`), XML's grammar (`_xml`), texts as they are meant (`_decoding`), values
(`_values`), the catalogue (`_grammar`), items (`_items`), bodies that are well-formed (`_bodies`) and those that are not (`_pieces`).
"""

from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_FromStringAndSize
from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memchr, memcmp, memcpy, memmove, memset, strlen

include "_memory.pxi"
include "_xml.pxi"
include "_decoding.pxi"
include "_values.pxi"
include "_grammar.pxi"
include "_items.pxi"
include "_bodies.pxi"
include "_pieces.pxi"

cdef struct Filling:
    # A column that is being filled. For a text, `numbers` are Arrow's offsets, otherwise values; a time's offsets in minutes are another column.
    uint8_t* data
    int64_t* numbers
    uint8_t* valid
    int64_t* minutes
    uint8_t* zoned
    int64_t cursor
    uint32_t row


cdef class Scanned:
    """The result of scanning a batch of bodies.

    ``states`` (a byte for each body) states what became of it: 0 nothing was read of it, 1 it is well-formed but for items that others have to judge, 2 it
    is not well-formed and was cut. ``counts`` (UInt32 for each) are their numbers of items. The rest covers only bodies of which something was read.
    """

    cdef Reading _reading
    cdef Grammar _grammar
    cdef list _rows
    cdef list _sizes
    cdef object _data
    cdef readonly bytearray states
    cdef readonly bytearray counts

    def __dealloc__(self):
        free(self._reading.items.at)
        free(self._reading.cells.at)
        free(self._reading.odds.at)
        free(self._reading.pieces.at)
        free(self._reading.made.at)
        free(self._reading.scratch.at)
        free(self._reading.rows)

    @property
    def rows(self):
        """For each table, its number of rows."""
        return list(self._rows)

    def odd(self):
        """What others have to read, in order: kind, body, position or depth, start and end in the data, and start and length of the name."""
        cdef size_t number
        cdef Odd odd
        found = []
        for number in range(self._reading.odds.count):
            odd = self._reading.odds.at[number]
            found.append((odd.kind, odd.body, odd.index, odd.start, odd.end, odd.name, odd.length))
        return found

    def places(self):
        """For each table: body (UInt32), position (Int64) and kind (UInt16) of its items, in order."""
        cdef size_t number
        cdef size_t tables = len(self._rows)
        cdef Item item
        found = [(_bytes(rows * 4), _bytes(rows * 8), _bytes(rows * 2)) for rows in self._rows]
        cdef uint32_t** bodies = <uint32_t**>malloc(tables * sizeof(void*))
        cdef int64_t** positions = <int64_t**>malloc(tables * sizeof(void*))
        cdef uint16_t** kinds = <uint16_t**>malloc(tables * sizeof(void*))
        try:
            if not (bodies and positions and kinds):
                raise MemoryError
            for number in range(tables):
                bodies[number] = <uint32_t*>PyByteArray_AS_STRING(found[number][0])
                positions[number] = <int64_t*>PyByteArray_AS_STRING(found[number][1])
                kinds[number] = <uint16_t*>PyByteArray_AS_STRING(found[number][2])
            with nogil:
                for number in range(self._reading.items.count):
                    item = self._reading.items.at[number]
                    bodies[item.table][0], positions[item.table][0], kinds[item.table][0] = item.body, item.index, item.item
                    bodies[item.table] += 1
                    positions[item.table] += 1
                    kinds[item.table] += 1
        finally:
            free(bodies)
            free(positions)
            free(kinds)
        return found

    def columns(self, tables):
        """For each filled slot, its buffers in Arrow's layout.

        For a text: bytes, offsets (Int64), validity (bits). Otherwise: values (Int64), validity; and for a time, after those, the
        written offsets in minutes (Int64), and their validity.

        ``tables`` has, for each slot, the number of its table.
        """
        cdef size_t slot
        cdef uint32_t last
        cdef Filling* fillings = <Filling*>malloc(2 * self._grammar._slot_count * sizeof(Filling))
        cdef const uint8_t[::1] data = self._data
        cdef const uint8_t* base = &data[0] if data.shape[0] else NULL
        if not fillings:
            raise MemoryError
        found = {}
        try:
            memset(fillings, 0, 2 * self._grammar._slot_count * sizeof(Filling))
            for slot, size in enumerate(self._sizes):
                if size >= 0:
                    found[slot] = self._made(&fillings[slot], self._grammar._type(slot), size, self._rows[tables[slot]])
            with nogil:
                self._fill(fillings, base)
            for slot in found:
                if self._grammar._type(slot) == TEXT:
                    last = self._rows[tables[slot]]
                    while fillings[slot].row <= last:
                        fillings[slot].numbers[fillings[slot].row] = fillings[slot].cursor
                        fillings[slot].row += 1
        finally:
            free(fillings)
        return found

    cdef tuple _made(self, Filling* filling, int type, size, rows):
        """Buffers of a column, to fill. Rows without a value have 0."""
        valid = bytearray((rows + 7) // 8)
        numbers = _bytes((rows + 1) * 8) if type == TEXT else bytearray(rows * 8)
        filling.numbers = <int64_t*>PyByteArray_AS_STRING(numbers)
        filling.valid = <uint8_t*>PyByteArray_AS_STRING(valid)
        if type == TEXT:
            data = _bytes(size)
            filling.data = <uint8_t*>PyByteArray_AS_STRING(data)
            return data, numbers, valid
        if type != TIME:
            return numbers, valid
        minutes, zoned = bytearray(rows * 8), bytearray((rows + 7) // 8)
        filling.minutes = <int64_t*>PyByteArray_AS_STRING(minutes)
        filling.zoned = <uint8_t*>PyByteArray_AS_STRING(zoned)
        return numbers, valid, minutes, zoned

    cdef void _fill(self, Filling* fillings, const uint8_t* base) noexcept nogil:
        cdef size_t number
        cdef Cell cell
        cdef Filling* filling
        cdef uint8_t type
        for number in range(self._reading.cells.count):
            cell = self._reading.cells.at[number]
            filling = &fillings[cell.slot]
            type = self._grammar._type(cell.slot)
            filling.valid[cell.row >> 3] |= 1 << (cell.row & 7)
            if type != TEXT:
                filling.numbers[cell.row] = cell.value
                if type == TIME and cell.flags & ZONED:
                    filling.minutes[cell.row] = cell.length
                    filling.zoned[cell.row >> 3] |= 1 << (cell.row & 7)
                continue
            while filling.row <= cell.row:
                filling.numbers[filling.row] = filling.cursor
                filling.row += 1
            memcpy(filling.data + filling.cursor, (self._reading.made.at if cell.flags & MADE else base) + cell.value, cell.length)
            filling.cursor += cell.length


cdef bytearray _bytes(size):
    return PyByteArray_FromStringAndSize(NULL, size)


def scan(Grammar grammar not None, const uint8_t[::1] data, const int64_t[::1] offsets, *, bint cut=False):
    """Scan bodies, which follow each other in ``data``, with one more offset than there are bodies.

    Args:
        grammar: what to read.
        data: bodies, in UTF-8.
        offsets: where each begins.
        cut: whether to take all of them for bodies that are not well-formed, and cut them.

    Raises:
        ValueError: the offsets do not ascend within the data.
        MemoryError: there is no memory.
    """
    cdef Scanned scanned = Scanned.__new__(Scanned)
    cdef Reading* r = &scanned._reading
    cdef size_t count = offsets.shape[0] - 1
    cdef size_t body, number, slots = 2 * grammar._slot_count
    cdef const uint8_t* base = &data[0] if data.shape[0] else NULL
    cdef int64_t* sizes = <int64_t*>malloc(slots * sizeof(int64_t))
    cdef uint8_t* states
    cdef uint32_t* counts
    r.rows = <uint32_t*>malloc(2 * grammar._tables * sizeof(uint32_t))
    try:
        if not (r.rows and sizes and _reserve(r, &r.scratch, 1) and _reserve(r, &r.made, 1)):
            raise MemoryError
        for body in range(count):
            if not 0 <= offsets[body] <= offsets[body + 1] <= data.shape[0]:
                raise ValueError("The offsets of the bodies do not ascend within their data.")
        scanned._grammar, scanned._data = grammar, data
        scanned.states, scanned.counts = bytearray(count), bytearray(count * 4)
        states, counts = <uint8_t*>PyByteArray_AS_STRING(scanned.states), <uint32_t*>PyByteArray_AS_STRING(scanned.counts)
        memset(r.rows, 0, 2 * grammar._tables * sizeof(uint32_t))
        r.base = base
        with nogil:
            for body in range(count):
                r.body = <uint32_t>body
                if cut:
                    states[body] = _pieces_of(r, grammar, base + offsets[body], base + offsets[body + 1], &counts[body])
                else:
                    states[body] = _body(r, grammar, base + offsets[body], base + offsets[body + 1], &counts[body])
                if states[body] == ELSEWHERE:
                    counts[body] = 0
                if r.fault == NO_MEMORY:
                    break
            for number in range(slots):
                sizes[number] = -1
            for number in range(r.cells.count):
                if sizes[r.cells.at[number].slot] < 0:
                    sizes[r.cells.at[number].slot] = 0
                if grammar._type(r.cells.at[number].slot) == TEXT:
                    sizes[r.cells.at[number].slot] += r.cells.at[number].length
        if r.fault == NO_MEMORY:
            raise MemoryError
        scanned._rows = [r.rows[number] for number in range(2 * grammar._tables)]
        scanned._sizes = [sizes[number] for number in range(slots)]
    finally:
        free(sizes)
    return scanned
