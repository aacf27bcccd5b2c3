# What the catalogue says, in numbers.

cdef enum:
    # Slots of the hash table of names, many more than there are names.
    PLACES = 4096
    LONGEST_NAME = 64

    # Types of columns, in the order of `TYPES`.
    TEXT = 0
    TIME = 1
    NUMBER = 2
    TRUTH = 3
    LIST = 4

TYPES = ("string", "timestamp", "int", "bool", "errors")
"""Types of columns that the scanner knows."""


cdef struct Kind:
    # What an item of a name is: its table (-1: others read it), the bits of what it cannot do without to be typed, of its id, and of the columns of which
    # one must be present, or it is of the kind `other` (-1: none).
    int table
    int other
    uint64_t needed
    uint64_t id
    uint64_t one_of

cdef struct Slot:
    # A column: its type and its bit in its table. `shared` columns are filled by the first of several elements. For a list of errors: the child of the
    # element that is an entry (-1: the element is one), the table of its entries, and the columns of code and message there.
    uint64_t bit
    int type
    bint shared
    int entry
    int entries
    int code
    int message

cdef struct Extra:
    # Slots of a table beside those of its children; -1 where the table has none.
    int rescued
    int identity
    int element
    int fragment


cdef inline size_t _hash(const uint8_t* name, size_t length) noexcept nogil:
    """Hash of a name that is not empty."""
    return (length * 131 + name[0] * 31 + name[length // 2] * 257 + name[length - 1] * 17 + name[length // 3] * 1031) % PLACES


cdef class Grammar:
    """Names of items and their children, and the column that each child fills, for the scanner.

    Everything has a number: its position in its list. Tables and slots are there twice: with typed columns, and, behind all those, with texts in their place.

    Args:
        items: names of items.
        children: names of children.
        tables: names of tables.
        kinds: one for each item, followed by others: table, other kind, masks of needed, id and one of (see `Kind`).
        unknown: the kind of items of other names.
        slots: one for each column of each table: bit in its table (less than 64), type, shared, entry, entries, code, message (see `Slot`).
        slot_of: for each kind and each child, kind by kind, the slot that it fills, or -1.
        extras: for each table: rescued, identity, element, fragment (see `Extra`).
        code, message: the children of an entry of an error list.
    """

    cdef bytes _names
    cdef const char* _bytes
    cdef int64_t _starts[1024]
    cdef int16_t _places[PLACES]
    cdef size_t _items, _children, _tables, _slot_count
    cdef int _unknown, _code, _message
    cdef int16_t* _slot_of
    cdef Slot* _slots
    cdef Kind* _kinds
    cdef Extra* _extras
    cdef list _table_names
    cdef const char** _table_name

    def __cinit__(self, items, children, tables, kinds, unknown, slots, slot_of, extras, code, message):
        names = [name.encode() for name in (*items, *children)]
        if len(names) > 1023 or max(map(len, names)) > LONGEST_NAME or len(kinds) < len(items) or len(slot_of) != len(kinds) * len(children):
            raise ValueError("The catalogue has more or longer names than the machine takes.")
        if len(set(names)) < len(names):
            raise ValueError("The catalogue has a child of the name of an item.")
        if max(slot[0] for slot in slots) > 63 or max(slot_of) >= len(slots) or max(map(max, extras)) >= len(slots) or 2 * len(slots) > 32767:
            raise ValueError("The catalogue has a table of more columns than the machine takes, or numbers beyond their lists.")
        if max(kind[0] for kind in kinds) >= len(tables) or max(kind[1] for kind in kinds) >= len(kinds) or not 0 <= unknown < len(kinds):
            raise ValueError("The catalogue has kinds of items beyond its lists.")
        if any(max(slot[5:]) >= len(slots) or slot[4] >= len(tables) or slot[3] >= len(children) for slot in slots) or len(extras) != len(tables):
            raise ValueError("The catalogue has lists of errors beyond its lists.")
        self._items, self._children, self._tables, self._slot_count = len(items), len(children), len(tables), len(slots)
        self._unknown, self._code, self._message = unknown, code, message
        self._names = b"".join(names)
        self._bytes = <const char*>self._names
        self._starts[0] = 0
        for number, name in enumerate(names):
            self._starts[number + 1] = self._starts[number] + len(name)
        self._slot_of = <int16_t*>malloc(len(slot_of) * sizeof(int16_t))
        self._slots = <Slot*>malloc(len(slots) * sizeof(Slot))
        self._kinds = <Kind*>malloc(len(kinds) * sizeof(Kind))
        self._extras = <Extra*>malloc(len(extras) * sizeof(Extra))
        self._table_name = <const char**>malloc(len(tables) * sizeof(char*))
        if not (self._slot_of and self._slots and self._kinds and self._extras and self._table_name):
            raise MemoryError
        for number, slot in enumerate(slot_of):
            self._slot_of[number] = slot
        for number, (bit, type, shared, entry, entries, code_, message_) in enumerate(slots):
            self._slots[number] = Slot((<uint64_t>1) << <int>bit, type, shared, entry, entries, code_, message_)
        for number, (table, other, needed, id_, one_of) in enumerate(kinds):
            self._kinds[number] = Kind(table, other, needed, id_, one_of)
        for number, (rescued, identity, element, fragment) in enumerate(extras):
            self._extras[number] = Extra(rescued, identity, element, fragment)
        self._table_names = [table.encode() for table in tables]
        for number in range(len(tables)):
            self._table_name[number] = <const char*>self._table_names[number]
        self._place(names)

    def __dealloc__(self):
        free(self._slot_of)
        free(self._slots)
        free(self._kinds)
        free(self._extras)
        free(self._table_name)

    cdef _place(self, list names):
        cdef size_t place
        for place in range(PLACES):
            self._places[place] = -1
        for number, name in enumerate(names):
            place = _hash(<const uint8_t*><const char*>name, len(name))
            while self._places[place] >= 0:
                place = (place + 1) % PLACES
            self._places[place] = number

    cdef inline int _number(self, Name* name) noexcept nogil:
        """Number of a name's local part, items first; -1 if it is unknown."""
        cdef size_t length = name.local_length
        cdef const uint8_t* names = <const uint8_t*>self._bytes
        if length == 0 or length > LONGEST_NAME:
            return -1
        cdef size_t place = _hash(name.local, length)
        cdef int number = self._places[place]
        while number >= 0:
            if <size_t>(self._starts[number + 1] - self._starts[number]) == length and memcmp(names + self._starts[number], name.local, length) == 0:
                return number
            place = (place + 1) % PLACES
            number = self._places[place]
        return -1

    cdef inline int _kind(self, Name* name) noexcept nogil:
        """The kind of an item of a name."""
        cdef int number = self._number(name)
        return number if 0 <= number and <size_t>number < self._items else self._unknown

    cdef inline int _child(self, Name* name) noexcept nogil:
        """Number of a child's name; negative if it is unknown."""
        return self._number(name) - <int>self._items

    cdef inline uint8_t _type(self, size_t slot) noexcept nogil:
        """The type of a slot's values: the second half of the slots are texts."""
        if slot < self._slot_count:
            return self._slots[slot].type
        return LIST if self._slots[slot - self._slot_count].type == LIST else TEXT
