# cython: language_level=3, boundscheck=True, wraparound=False
"""The scanner of the fast path: reads plain items in one pass over the bytes of a batch, without the interpreter's lock.

:mod:`mg_lakehouse.events.fast.reader`, its only user, defines plain items and explains why nothing is lost. The scanner checks them byte by
byte: anything unexpected makes an item odd, or its body not plain. Every read is checked against the end of the body,
and what is written is counted beforehand.
"""

from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_FromStringAndSize
from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcmp, memcpy, memset

cdef enum:
    # Classes of bytes, in a text or a tag.
    ORDINARY = 0
    OPENS = 1
    CLOSES = 2
    AMPERSAND = 3
    RETURN = 4
    FORBIDDEN = 5
    MAYBE_FORBIDDEN = 6
    # Slots of the hash table of names, many more than there are names.
    PLACES = 4096
    LONGEST_NAME = 64
    # libxml2 refuses a text of more than 10 million bytes.
    LONGEST_BODY = 8388608

    # Types of columns, in the order of `TYPES`.
    TEXT = 0
    TIME = 1
    NUMBER = 2
    TRUTH = 3

TYPES = ("string", "timestamp", "int", "bool")
"""Types of columns that the scanner knows."""

cdef uint8_t SIGNS[256]
cdef int DAYS_BEFORE[13]
DAYS_BEFORE[:] = [0, 0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334]


cdef void _tell_signs() noexcept:
    """U+FFFE and U+FFFF, which XML forbids like control characters, begin with EF."""
    memset(SIGNS, ORDINARY, 256)
    memset(SIGNS, FORBIDDEN, 32)
    SIGNS[9] = SIGNS[10] = ORDINARY
    SIGNS[13] = RETURN
    SIGNS[ord("<")] = OPENS
    SIGNS[ord(">")] = CLOSES
    SIGNS[ord("&")] = AMPERSAND
    SIGNS[0xEF] = MAYBE_FORBIDDEN


_tell_signs()

cdef struct Item:
    # A plain item; its row is the next of its table.
    uint32_t body
    uint32_t index
    uint32_t table

cdef struct Cell:
    # A child that is not empty. For a text, `value` is its place, and `length` and `decoded` are its lengths as written and decoded.
    # Otherwise `value` is its value; for a time, `length` is the written offset in minutes, and `decoded` whether there is one.
    int64_t value
    int32_t length
    uint32_t decoded
    uint32_t row
    uint16_t slot

cdef struct Odd:
    # An item to parse alone, and the length of its tags' prefix in bytes, colon included.
    int64_t start
    int64_t end
    uint32_t body
    uint32_t index
    uint32_t prefix

cdef struct Items:
    Item* at
    size_t count
    size_t room

cdef struct Cells:
    Cell* at
    size_t count
    size_t room

cdef struct Odds:
    Odd* at
    size_t count
    size_t room

cdef struct Filling:
    # A column that is being filled. For a text, `numbers` are Arrow's offsets, otherwise values; a time's offsets in minutes are another column.
    uint8_t* data
    int64_t* numbers
    uint8_t* valid
    int64_t* minutes
    uint8_t* zoned
    int64_t cursor
    uint32_t row


cdef inline void* _room(void* at, size_t count, size_t* room, size_t size) noexcept nogil:
    """Make room for one more; NULL if there is no memory."""
    if count < room[0]:
        return at
    cdef size_t wanted = 2 * room[0] if room[0] else 1024
    cdef void* grown = realloc(at, wanted * size)
    if grown != NULL:
        room[0] = wanted
    return grown


cdef inline bint _is_blank(uint8_t sign) noexcept nogil:
    return sign == 32 or sign == 10 or sign == 13 or sign == 9


cdef inline const uint8_t* _text(const uint8_t* at, const uint8_t* end, bint* marked) noexcept nogil:
    """After a text: the next ``<``. NULL if a character comes first that may not be in a text.

    ``marked`` is set if the text has an ampersand or a carriage return.
    """
    cdef uint8_t sign
    while at < end:
        sign = SIGNS[at[0]]
        if sign != ORDINARY:
            if sign == OPENS:
                return at
            if sign == AMPERSAND or sign == RETURN:
                marked[0] = True
            elif sign != MAYBE_FORBIDDEN or _is_forbidden(at, end):
                return NULL
        at += 1
    return NULL


cdef inline const uint8_t* _tag(const uint8_t* at, const uint8_t* end) noexcept nogil:
    """The ``>`` of the tag whose first byte after ``<`` is at ``at``. NULL if a character comes first that may not be in a tag."""
    cdef uint8_t sign
    while at < end:
        sign = SIGNS[at[0]]
        if sign != ORDINARY:
            if sign == CLOSES:
                return at
            if sign == OPENS or sign == FORBIDDEN or (sign == MAYBE_FORBIDDEN and _is_forbidden(at, end)):
                return NULL
        at += 1
    return NULL


cdef inline bint _is_forbidden(const uint8_t* at, const uint8_t* end) noexcept nogil:
    return end - at >= 3 and at[1] == 0xBF and at[2] >= 0xBE


cdef inline const uint8_t* _behind(const uint8_t* at, const uint8_t* end, const char* expected, size_t length) noexcept nogil:
    """After an expected text; NULL if another text is there."""
    if at == NULL or <size_t>(end - at) < length or (length and memcmp(at, expected, length) != 0):
        return NULL
    return at + length


cdef inline const uint8_t* _either(
    const uint8_t* at, const uint8_t* end, const char* one, size_t its, const char* other, size_t others,
) noexcept nogil:
    """After one of two texts, or where it was."""
    cdef const uint8_t* behind = _behind(at, end, one, its)
    if behind == NULL:
        behind = _behind(at, end, other, others)
    return at if behind == NULL else behind


cdef inline const uint8_t* _unblank(const uint8_t* at, const uint8_t* end) noexcept nogil:
    while at < end and _is_blank(at[0]):
        at += 1
    return at


cdef inline size_t _entity(const uint8_t* at, const uint8_t* end, uint8_t* sign) noexcept nogil:
    """Length of the entity, one of XML's own five, that begins at ``at``, and its character; 0 if there is none."""
    if _behind(at, end, "&amp;", 5) != NULL:
        sign[0] = 38
        return 5
    if _behind(at, end, "&lt;", 4) != NULL:
        sign[0] = 60
        return 4
    if _behind(at, end, "&gt;", 4) != NULL:
        sign[0] = 62
        return 4
    if _behind(at, end, "&quot;", 6) != NULL:
        sign[0] = 34
        return 6
    if _behind(at, end, "&apos;", 6) != NULL:
        sign[0] = 39
        return 6
    return 0


cdef inline int64_t _decoded(const uint8_t* at, const uint8_t* end) noexcept nogil:
    """Length of a text with its entities decoded; -1 if it has a carriage return or an entity other than the five."""
    cdef int64_t length = 0
    cdef size_t entity
    cdef uint8_t sign
    while at < end:
        if at[0] == 13:
            return -1
        entity = 1
        if at[0] == 38:
            entity = _entity(at, end, &sign)
            if entity == 0:
                return -1
        at += entity
        length += 1
    return length


cdef inline int64_t _digits(const uint8_t* at, size_t count) noexcept nogil:
    """A number of so many digits, fewer than 19; -1 if there are other characters."""
    cdef int64_t number = 0
    cdef size_t place
    for place in range(count):
        if not 48 <= at[place] <= 57:
            return -1
        number = 10 * number + at[place] - 48
    return number


cdef bint _time(const uint8_t* at, const uint8_t* end, Cell* cell) noexcept nogil:
    """Whether a text is an ``xsd:dateTime`` as machines write it: of the years 1900 to 2199, and no 24 o'clock. Microseconds since 1970, in UTC."""
    cdef int64_t year, month, day, hour, minute, second, micros = 0, offset = 0, days
    cdef int place
    cdef bint leaps
    if end - at < 19 or at[4] != 45 or at[7] != 45 or at[10] != 84 or at[13] != 58 or at[16] != 58:
        return False
    year, month, day = _digits(at, 4), _digits(at + 5, 2), _digits(at + 8, 2)
    hour, minute, second = _digits(at + 11, 2), _digits(at + 14, 2), _digits(at + 17, 2)
    if not (1900 <= year < 2200 and 1 <= month <= 12 and 1 <= day and 0 <= hour < 24 and 0 <= minute < 60 and 0 <= second < 60):
        return False
    leaps = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    if day > (31 if month == 12 else DAYS_BEFORE[month + 1] - DAYS_BEFORE[month]) + (1 if month == 2 and leaps else 0):
        return False
    at += 19
    if at < end and at[0] == 46:
        at += 1
        place = 0
        while at < end and 48 <= at[0] <= 57:
            if place < 6:  # digits beyond microseconds are cut, never rounded
                micros = 10 * micros + at[0] - 48
            place += 1
            at += 1
        if place == 0:
            return False
        while place < 6:
            micros *= 10
            place += 1
    cell.decoded = at < end
    if end - at == 6 and (at[0] == 43 or at[0] == 45) and at[3] == 58:
        if _digits(at + 1, 2) < 0 or not 0 <= _digits(at + 4, 2) < 60:
            return False
        offset = 60 * _digits(at + 1, 2) + _digits(at + 4, 2)
        if offset > 840:
            return False
        if at[0] == 45:
            offset = -offset
    elif at < end and not (end - at == 1 and at[0] == 90):
        return False
    # Days since the first day of 1600, which begins a cycle of 400 years, minus those up to 1970.
    days = 365 * (year - 1600) + (year - 1597) // 4 - (year - 1501) // 100 + (year - 1201) // 400 - 135_140
    days += DAYS_BEFORE[month] + day - 1 + (1 if leaps and month > 2 else 0)
    cell.value = (((days * 24 + hour) * 60 + minute - offset) * 60 + second) * 1_000_000 + micros
    cell.length = <int32_t>offset
    return True


cdef inline bint _number_of(const uint8_t* at, const uint8_t* end, Cell* cell) noexcept nogil:
    """Whether a text is a whole number of at most 18 digits, with or without a minus."""
    cdef bint negative = end > at and at[0] == 45
    at += negative
    if not 0 < end - at <= 18:
        return False
    cell.value = _digits(at, end - at)
    if cell.value < 0:
        return False
    if negative:
        cell.value = -cell.value
    return True


cdef inline bint _truth(const uint8_t* at, const uint8_t* end, Cell* cell) noexcept nogil:
    """Whether a text is ``true``, ``false``, 1 or 0."""
    if end - at == 4 and memcmp(at, b"true", 4) == 0 or end - at == 1 and at[0] == 49:
        cell.value = 1
    elif end - at == 5 and memcmp(at, b"false", 5) == 0 or end - at == 1 and at[0] == 48:
        cell.value = 0
    else:
        return False
    return True


cdef const uint8_t* _head(const uint8_t* at, const uint8_t* end, const uint8_t** prefix, size_t* length) noexcept nogil:
    """After the root's start tag; also the prefix of all tags, which the root binds. NULL if the head is unusual.

    Usual is a declaration of XML 1.0 in UTF-8, and one namespace, of the feed. Other heads may be legal:
    the strict reader decides.
    """
    cdef const uint8_t* behind
    cdef const uint8_t* name
    if _behind(at, end, "<?xml", 5) != NULL:
        at = _behind(at, end, '<?xml version="1.0"', 19)
        if at == NULL:
            return NULL
        at = _either(at, end, ' encoding="UTF-8"', 17, ' encoding="utf-8"', 17)
        at = _either(at, end, ' standalone="yes"', 17, ' standalone="no"', 16)
        at = _behind(_either(at, end, " ", 1, " ", 1), end, "?>", 2)
        if at == NULL:
            return NULL
        at = _unblank(at, end)
    at = _behind(at, end, "<", 1)
    if at == NULL:
        return NULL
    name = at
    while at < end and 97 <= at[0] <= 122:
        at += 1
    length[0] = 0
    if at > name:
        at = _behind(at, end, ":", 1)
        if at == NULL:
            return NULL
        prefix[0], length[0] = name, at - name
    at = _behind(at, end, "ActivityItems", 13)
    if at == NULL:
        return NULL
    behind = _behind(at, end, " xmlns", 6)
    if behind != NULL:
        at = _namespace(behind, end, prefix[0], length[0])
    elif length[0]:
        return NULL
    if at == NULL:
        return NULL
    return _behind(_unblank(at, end), end, ">", 1)


cdef const uint8_t* _namespace(const uint8_t* at, const uint8_t* end, const uint8_t* prefix, size_t length) noexcept nogil:
    """After the rest of an attribute that binds the root's prefix (any or none, if the root has none) to a namespace of the feed."""
    cdef const uint8_t* name
    if length:
        at = _behind(_behind(at, end, ":", 1), end, <const char*>prefix, length - 1)
        if at == NULL or _behind(prefix, prefix + length, "xml", 3) != NULL:
            return NULL
    elif at < end and at[0] == 58:
        at += 1
        name = at
        while at < end and 97 <= at[0] <= 122:
            at += 1
        if at == name or _behind(name, at, "xml", 3) != NULL:
            return NULL
    at = _behind(at, end, '="http://messagegears.com/', 26)
    if at == NULL:
        return NULL
    while at < end and (97 <= at[0] <= 122 or 65 <= at[0] <= 90 or 45 <= at[0] <= 57 or at[0] == 95):
        at += 1
    return _behind(at, end, '"', 1)


cdef inline size_t _hash(const uint8_t* name, size_t length) noexcept nogil:
    """Hash of a name that is not empty."""
    return (length * 131 + name[0] * 31 + name[length // 2] * 257 + name[length - 1] * 17 + name[length // 3] * 1031) % PLACES


cdef class Grammar:
    """Names of items and their children, and the column that each child fills, for the scanner.

    Args:
        items: names of items.
        tables: for each item, the number of its table.
        table_count: number of tables.
        children: names of children.
        slots: for each item and each child, item by item, the number of the column among all, or -1 if the child fills none.
        bits: for each slot, its number in its table, less than 64.
        types: for each slot, the number of its type in ``TYPES``.
        needed: for each item, the bits of the columns that must not be empty, as a mask.
        one_of: for each item, the mask of the columns of which one must not be empty; 0 if it does not matter.
    """

    cdef bytes _names
    cdef int64_t _starts[1024]
    cdef int16_t _places[PLACES]
    cdef size_t _items, _children, _tables, _slot_count
    cdef uint16_t* _table_of
    cdef int16_t* _slot_of
    cdef uint64_t* _bit_of
    cdef uint8_t* _type_of
    cdef uint64_t* _needed
    cdef uint64_t* _one_of

    def __cinit__(self, items, tables, table_count, children, slots, bits, types, needed, one_of):
        names = [name.encode() for name in (*items, *children)]
        if len(names) > 1023 or len(tables) != len(items) or len(slots) != len(items) * len(children) or max(map(len, names)) > LONGEST_NAME:
            raise ValueError("The catalogue has more or longer names than the machine takes.")
        if max(bits) > 63 or max(slots) >= len(bits) or max(tables) >= table_count or len(types) != len(bits):
            raise ValueError("The catalogue has a table of more columns than the machine takes, or numbers beyond their lists.")
        self._items, self._children, self._tables, self._slot_count = len(items), len(children), table_count, len(bits)
        self._names = b"".join(names)
        self._starts[0] = 0
        for number, name in enumerate(names):
            self._starts[number + 1] = self._starts[number] + len(name)
        self._table_of = <uint16_t*>malloc(len(items) * sizeof(uint16_t))
        self._slot_of = <int16_t*>malloc(len(slots) * sizeof(int16_t))
        self._bit_of = <uint64_t*>malloc(len(bits) * sizeof(uint64_t))
        self._type_of = <uint8_t*>malloc(len(bits))
        self._needed = <uint64_t*>malloc(len(items) * sizeof(uint64_t))
        self._one_of = <uint64_t*>malloc(len(items) * sizeof(uint64_t))
        if not (self._table_of and self._slot_of and self._bit_of and self._type_of and self._needed and self._one_of):
            raise MemoryError
        for number in range(len(items)):
            self._table_of[number], self._needed[number], self._one_of[number] = tables[number], needed[number], one_of[number]
        for number in range(len(slots)):
            self._slot_of[number] = slots[number]
        for number in range(len(bits)):
            self._bit_of[number] = (<uint64_t>1) << <int>bits[number]
            self._type_of[number] = types[number]
        self._place(names)

    def __dealloc__(self):
        free(self._table_of)
        free(self._slot_of)
        free(self._bit_of)
        free(self._type_of)
        free(self._needed)
        free(self._one_of)

    cdef _place(self, list names):
        cdef size_t place
        for place in range(PLACES):
            self._places[place] = -1
        for number, name in enumerate(names):
            place = _hash(<const uint8_t*><const char*>name, len(name))
            while self._places[place] >= 0:
                place = (place + 1) % PLACES
            self._places[place] = number

    cdef inline int _number(self, const uint8_t* name, size_t length, const uint8_t* names) noexcept nogil:
        """Number of a name, items first; -1 if it is unknown."""
        if length == 0 or length > LONGEST_NAME:
            return -1
        cdef size_t place = _hash(name, length)
        cdef int number = self._places[place]
        while number >= 0:
            if <size_t>(self._starts[number + 1] - self._starts[number]) == length and memcmp(names + self._starts[number], name, length) == 0:
                return number
            place = (place + 1) % PLACES
            number = self._places[place]
        return -1


cdef class Scanned:
    """The result of scanning a batch of bodies.

    ``plain`` (a byte for each body) states which are plain, ``counts`` (UInt32 for each) their numbers of items. The rest covers plain bodies only.
    """

    cdef Items _items
    cdef Cells _cells
    cdef Odds _odds
    cdef Grammar _grammar
    cdef list _rows
    cdef list _sizes
    cdef object _data
    cdef bint _failed
    cdef readonly bytearray plain
    cdef readonly bytearray counts

    def __dealloc__(self):
        free(self._items.at)
        free(self._cells.at)
        free(self._odds.at)

    @property
    def rows(self):
        """For each table, its number of plain items."""
        return list(self._rows)

    def odd(self):
        """Items to parse alone, in order: body, position, start and end in the data, and the length of the prefix."""
        cdef size_t number
        found = []
        for number in range(self._odds.count):
            found.append(
                (
                    self._odds.at[number].body, self._odds.at[number].index,
                    self._odds.at[number].start, self._odds.at[number].end, self._odds.at[number].prefix,
                )
            )
        return found

    def places(self):
        """For each table: body (UInt32) and position (Int64) of its plain items, in order."""
        cdef size_t number
        cdef size_t tables = len(self._rows)
        cdef Item item
        found = [(_bytes(rows * 4), _bytes(rows * 8)) for rows in self._rows]
        cdef uint32_t** bodies = <uint32_t**>malloc(tables * sizeof(void*))
        cdef int64_t** positions = <int64_t**>malloc(tables * sizeof(void*))
        try:
            if not (bodies and positions):
                raise MemoryError
            for number in range(tables):
                bodies[number] = <uint32_t*>PyByteArray_AS_STRING(found[number][0])
                positions[number] = <int64_t*>PyByteArray_AS_STRING(found[number][1])
            with nogil:
                for number in range(self._items.count):
                    item = self._items.at[number]
                    bodies[item.table][0], positions[item.table][0] = item.body, item.index
                    bodies[item.table] += 1
                    positions[item.table] += 1
        finally:
            free(bodies)
            free(positions)
        return found

    def columns(self, tables):
        """For each filled slot, its buffers in Arrow's layout.

        For a text: bytes, offsets (Int64), validity (bits). Otherwise: values (Int64), validity; and for a time, after those, the
        written offsets in minutes (Int64), and their validity.

        ``tables`` has, for each slot, the number of its table.
        """
        cdef size_t slot
        cdef uint32_t last
        cdef Filling* fillings = <Filling*>malloc(self._grammar._slot_count * sizeof(Filling))
        cdef const uint8_t[::1] data = self._data
        cdef const uint8_t* base = &data[0] if data.shape[0] else NULL
        if not fillings:
            raise MemoryError
        found = {}
        try:
            memset(fillings, 0, self._grammar._slot_count * sizeof(Filling))
            for slot, size in enumerate(self._sizes):
                if size >= 0:
                    found[slot] = self._made(&fillings[slot], self._grammar._type_of[slot], size, self._rows[tables[slot]])
            with nogil:
                self._fill(fillings, base)
            for slot in found:
                if self._grammar._type_of[slot] == TEXT:
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
        for number in range(self._cells.count):
            cell = self._cells.at[number]
            filling = &fillings[cell.slot]
            type = self._grammar._type_of[cell.slot]
            filling.valid[cell.row >> 3] |= 1 << (cell.row & 7)
            if type != TEXT:
                filling.numbers[cell.row] = cell.value
                if type == TIME and cell.decoded:
                    filling.minutes[cell.row] = cell.length
                    filling.zoned[cell.row >> 3] |= 1 << (cell.row & 7)
                continue
            while filling.row <= cell.row:
                filling.numbers[filling.row] = filling.cursor
                filling.row += 1
            if cell.decoded == <uint32_t>cell.length:
                memcpy(filling.data + filling.cursor, base + cell.value, cell.length)
            else:
                _decode(base + cell.value, cell.length, filling.data + filling.cursor)
            filling.cursor += cell.decoded


cdef void _decode(const uint8_t* at, size_t length, uint8_t* to) noexcept nogil:
    """A text of known entities only, decoded."""
    cdef const uint8_t* end = at + length
    while at < end:
        if at[0] == 38:
            at += _entity(at, end, to)
        else:
            to[0] = at[0]
            at += 1
        to += 1


cdef bytearray _bytes(size):
    return PyByteArray_FromStringAndSize(NULL, size)


def scan(Grammar grammar not None, const uint8_t[::1] data, const int64_t[::1] offsets):
    """Scan bodies, which follow each other in ``data``, with one more offset than there are bodies.

    Raises:
        ValueError: the offsets do not ascend within the data.
        MemoryError: there is no memory.
    """
    cdef Scanned scanned = Scanned.__new__(Scanned)
    cdef size_t count = offsets.shape[0] - 1
    cdef size_t body, number, slot
    cdef const uint8_t* base = &data[0] if data.shape[0] else NULL
    cdef const uint8_t* names = <const uint8_t*><const char*>grammar._names
    cdef uint32_t* rows = <uint32_t*>malloc(grammar._tables * sizeof(uint32_t))
    cdef int64_t* sizes = <int64_t*>malloc(grammar._slot_count * sizeof(int64_t))
    cdef uint8_t* plain
    cdef uint32_t* counts
    if not (rows and sizes):
        free(rows)
        free(sizes)
        raise MemoryError
    try:
        for body in range(count):
            if not 0 <= offsets[body] <= offsets[body + 1] <= data.shape[0]:
                raise ValueError("The offsets of the bodies do not ascend within their data.")
        scanned._grammar, scanned._data = grammar, data
        scanned.plain, scanned.counts = bytearray(count), bytearray(count * 4)
        plain, counts = <uint8_t*>PyByteArray_AS_STRING(scanned.plain), <uint32_t*>PyByteArray_AS_STRING(scanned.counts)
        memset(rows, 0, grammar._tables * sizeof(uint32_t))
        with nogil:
            for body in range(count):
                plain[body] = _scan_body(scanned, grammar, names, rows, <uint32_t>body, base, offsets[body], offsets[body + 1], &counts[body])
            for number in range(grammar._slot_count):
                sizes[number] = -1
            for number in range(scanned._cells.count):
                slot = scanned._cells.at[number].slot
                if sizes[slot] < 0:
                    sizes[slot] = 0
                if grammar._type_of[slot] == TEXT:
                    sizes[slot] += scanned._cells.at[number].decoded
        if scanned._failed:
            raise MemoryError
        scanned._rows = [rows[number] for number in range(grammar._tables)]
        scanned._sizes = [sizes[number] for number in range(grammar._slot_count)]
    finally:
        free(rows)
        free(sizes)
    return scanned


cdef bint _scan_body(
    Scanned scanned, Grammar grammar, const uint8_t* names, uint32_t* rows, uint32_t body,
    const uint8_t* base, int64_t start, int64_t stop, uint32_t* count,
) noexcept nogil:
    """Scan one body. Its rows are removed again if it turns out not to be plain."""
    cdef size_t items = scanned._items.count, cells = scanned._cells.count, odds = scanned._odds.count
    if not scanned._failed and _scan_items(scanned, grammar, names, rows, body, base, start, stop, count):
        return True
    while scanned._items.count > items:
        scanned._items.count -= 1
        rows[scanned._items.at[scanned._items.count].table] -= 1
    scanned._cells.count, scanned._odds.count = cells, odds
    count[0] = 0
    return False


cdef bint _scan_items(
    Scanned scanned, Grammar grammar, const uint8_t* names, uint32_t* rows, uint32_t body,
    const uint8_t* base, int64_t start, int64_t stop, uint32_t* count,
) noexcept nogil:
    """Whether a body is plain; also counts its items."""
    cdef const uint8_t* at = base + start
    cdef const uint8_t* end = base + stop
    cdef const uint8_t* prefix = NULL
    cdef size_t length = 0
    if stop == start:
        return False
    while at < end and (_is_blank(at[0]) or _behind(at, end, b"\xef\xbb\xbf", 3) != NULL):
        at += 1 if _is_blank(at[0]) else 3
    while end > at and _is_blank((end - 1)[0]):
        end -= 1
    if end - at > LONGEST_BODY:
        return False
    at = _head(at, end, &prefix, &length)
    while at != NULL:
        at = _unblank(at, end)
        if _behind(at, end, "</", 2) != NULL:
            at = _behind(_behind(at + 2, end, <const char*>prefix, length), end, "ActivityItems>", 14)
            return at == end
        at = _scan_item(scanned, grammar, names, rows, body, count[0], base, at, end, prefix, length)
        count[0] += 1
    return False


cdef const uint8_t* _scan_item(
    Scanned scanned, Grammar grammar, const uint8_t* names, uint32_t* rows, uint32_t body, uint32_t index,
    const uint8_t* base, const uint8_t* start, const uint8_t* end, const uint8_t* prefix, size_t length,
) noexcept nogil:
    """After an item, or NULL if its body is not plain. Adds the item to the plain or to the odd ones."""
    cdef const uint8_t* at = _behind(_behind(start, end, "<", 1), end, <const char*>prefix, length)
    cdef const uint8_t* name = at
    cdef const uint8_t* opened
    cdef const uint8_t* closed
    cdef const uint8_t* behind
    cdef bint odd = False, marked = False, is_empty
    cdef int item, child, slot, found
    cdef uint16_t table
    cdef uint64_t seen = 0, filled = 0, bit
    cdef size_t cells = scanned._cells.count
    cdef Item* added
    if at == NULL:
        return NULL
    at = _tag(at, end)
    if at == NULL or at == name or (at - 1)[0] == 47 or name[0] == 33 or name[0] == 63 or name[0] == 47:
        return NULL
    item = grammar._number(name, at - name, names)
    at += 1
    if item < 0 or <size_t>item >= grammar._items:
        return _scan_odd(scanned, body, index, base, start, at, end, prefix, length, 1)
    table = grammar._table_of[item]
    closed = at - 1
    while True:
        at = _unblank(at, end)
        behind = _behind(at, end, "</", 2)
        if behind != NULL:
            at = _behind(_behind(_behind(behind, end, <const char*>prefix, length), end, <const char*>name, closed - name), end, ">", 1)
            if at == NULL:
                return NULL
            break
        opened = _behind(_behind(at, end, "<", 1), end, <const char*>prefix, length)
        if opened == NULL:
            return _taken_back(scanned, cells, body, index, base, start, at, end, prefix, length, 1)
        behind = _tag(opened, end)
        if behind == NULL:
            return NULL
        is_empty = behind > opened and (behind - 1)[0] == 47
        child = grammar._number(opened, behind - opened - is_empty, names) - <int>grammar._items
        slot = -1 if child < 0 else grammar._slot_of[item * grammar._children + child]
        if slot < 0:
            return _taken_back(scanned, cells, body, index, base, start, at, end, prefix, length, 1)
        bit = grammar._bit_of[slot]
        odd |= (seen & bit) != 0
        seen |= bit
        if is_empty:
            at = behind + 1
            continue
        marked = False
        at = _text(behind + 1, end, &marked)
        if at == NULL:
            return NULL
        found = _add_cell(scanned, slot, grammar._type_of[slot], rows[table], base, behind + 1, at, marked)
        odd |= found < 0
        if found > 0:
            filled |= bit
        if scanned._failed:
            return NULL
        child = behind - opened
        opened = _behind(_behind(_behind(_behind(at, end, "</", 2), end, <const char*>prefix, length), end, <const char*>opened, child), end, ">", 1)
        if opened == NULL:
            return _taken_back(scanned, cells, body, index, base, start, at, end, prefix, length, 2)
        at = opened
    if odd or (filled & grammar._needed[item]) != grammar._needed[item] or (grammar._one_of[item] and not filled & grammar._one_of[item]):
        scanned._cells.count = cells
        return _add_odd(scanned, body, index, base, start, at, length)
    added = <Item*>_room(scanned._items.at, scanned._items.count, &scanned._items.room, sizeof(Item))
    if added == NULL:
        scanned._failed = True
        return NULL
    scanned._items.at = added
    added[scanned._items.count] = Item(body, index, table)
    scanned._items.count += 1
    rows[table] += 1
    return at


cdef inline int _add_cell(
    Scanned scanned, int slot, uint8_t type, uint32_t row, const uint8_t* base, const uint8_t* start, const uint8_t* end, bint marked,
) noexcept nogil:
    """Add a child's value. Returns 1 if it has one, 0 if it is empty, -1 if the strict reader must read the item."""
    cdef Cell* cell
    cdef int64_t decoded
    while start < end and _is_blank(start[0]):
        start += 1
    while end > start and _is_blank((end - 1)[0]):
        end -= 1
    if start == end:
        return 0
    cell = <Cell*>_room(scanned._cells.at, scanned._cells.count, &scanned._cells.room, sizeof(Cell))
    if cell == NULL:
        scanned._failed = True
        return -1
    scanned._cells.at = cell
    cell += scanned._cells.count
    cell.row, cell.slot = row, <uint16_t>slot
    if type == TEXT:
        decoded = _decoded(start, end) if marked else end - start
        if decoded < 0:
            return -1
        cell.value, cell.length, cell.decoded = start - base, <int32_t>(end - start), <uint32_t>decoded
    elif type == TIME:
        if not _time(start, end, cell):
            return -1
    elif type == NUMBER:
        if not _number_of(start, end, cell):
            return -1
    elif not _truth(start, end, cell):
        return -1
    scanned._cells.count += 1
    return 1


cdef const uint8_t* _taken_back(
    Scanned scanned, size_t cells, uint32_t body, uint32_t index, const uint8_t* base, const uint8_t* start,
    const uint8_t* at, const uint8_t* end, const uint8_t* prefix, size_t length, int depth,
) noexcept nogil:
    """Finish an item that turned out odd, from where it did."""
    scanned._cells.count = cells
    return _scan_odd(scanned, body, index, base, start, at, end, prefix, length, depth)


cdef const uint8_t* _scan_odd(
    Scanned scanned, uint32_t body, uint32_t index, const uint8_t* base, const uint8_t* start,
    const uint8_t* at, const uint8_t* end, const uint8_t* prefix, size_t length, int depth,
) noexcept nogil:
    """After an odd item, whose end is found by balancing tags; whether they match is checked when it is parsed."""
    cdef bint marked = False
    cdef const uint8_t* name
    while depth > 0:
        at = _text(at, end, &marked)
        if at == NULL:
            return NULL
        name = at + 1
        at = _tag(name, end)
        if at == NULL or at == name:
            return NULL
        if name[0] == 63 or (name[0] == 33 and not length):
            pass
        elif name[0] == 47:
            if length and _behind(name + 1, end, <const char*>prefix, length) == NULL:
                return NULL
            depth -= 1
        elif length and _behind(name, end, <const char*>prefix, length) == NULL:
            return NULL
        elif (at - 1)[0] != 47:
            depth += 1
        at += 1
    return _add_odd(scanned, body, index, base, start, at, length)


cdef const uint8_t* _add_odd(
    Scanned scanned, uint32_t body, uint32_t index, const uint8_t* base, const uint8_t* start, const uint8_t* end, size_t length,
) noexcept nogil:
    cdef Odd* odds = <Odd*>_room(scanned._odds.at, scanned._odds.count, &scanned._odds.room, sizeof(Odd))
    if odds == NULL:
        scanned._failed = True
        return NULL
    scanned._odds.at = odds
    odds[scanned._odds.count] = Odd(start - base, end - base, body, index, <uint32_t>length)
    scanned._odds.count += 1
    return end
