# What the scanner writes down while it reads: growing lists, and the state that all its functions share.

cdef enum:
    # Why a function returned NULL.
    UNSURE = 1  # something that the scanner does not judge: another reader has to look
    BROKEN = 2  # surely not well-formed
    NO_MEMORY = 3

    MOST_BOUND = 32
    MOST_CHILDREN = 64

    # Kinds of pieces that others read.
    ITEM = 0  # an item of a body that is well-formed outside of such items
    PIECE = 1  # an item, well-formed or not, cut out of a body that is not well-formed
    STRAY = 2  # text between items, in such a body
    OPENING = 3  # a start tag of the envelope around the pieces that follow, `index` is its depth

    # Flags of cells.
    MADE = 1  # a text that was decoded or composed: it is in `made`, not in the bodies
    ZONED = 2  # a time with an offset

cdef struct Item:
    # An item that was read; its row is the next of its table. Of an entry of an error list, `body` is the row of its item.
    uint32_t body
    uint32_t index
    uint16_t table
    uint16_t item

cdef struct Cell:
    # A child that is not empty. For a text, `value` is its place and `length` its length. Otherwise `value` is its value; for a time, `length` is the
    # written offset in minutes.
    int64_t value
    int32_t length
    uint32_t row
    uint16_t slot
    uint8_t flags

cdef struct Odd:
    # A piece of a body that others read, and its name, at -1 if it has none. A name that ends in a colon has an empty local part.
    int64_t start
    int64_t end
    int64_t name
    uint32_t length
    uint32_t body
    uint32_t index
    uint32_t kind

cdef struct Name:
    # The name of a tag as written, and its local part.
    const uint8_t* start
    const uint8_t* local
    size_t length
    size_t local_length

cdef struct Child:
    # A child element: its local name and its content. `marked` content has something to decode, `nested` content has elements.
    const uint8_t* name
    const uint8_t* start
    const uint8_t* stop
    size_t length
    bint marked
    bint nested

cdef struct Piece:
    # A tag of a body that is not well-formed; without a name, a comment or processing instruction.
    const uint8_t* start
    const uint8_t* end
    Name name
    bint closes
    bint empty

cdef struct Prefix:
    const uint8_t* start
    size_t length

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

cdef struct Pieces:
    Piece* at
    size_t count
    size_t room

cdef struct Bytes:
    uint8_t* at
    size_t count
    size_t room

cdef struct Mark:
    # How far everything had come: what comes behind it can be taken back.
    size_t items
    size_t cells
    size_t odds
    size_t made

cdef struct Reading:
    # The state of a scan. `rows` counts the rows of each table; `bound` are the prefixes in scope; `rest` are the children of the
    # item that no column takes; `children` are the first of all its children.
    Items items
    Cells cells
    Odds odds
    Pieces pieces
    Bytes made
    Bytes scratch
    const uint8_t* base
    uint32_t* rows
    Prefix bound[MOST_BOUND]
    size_t bounds
    Child rest[MOST_CHILDREN]
    size_t rest_count
    Child children[MOST_CHILDREN]
    size_t child_count
    uint32_t body
    int fault
    int again


cdef inline const uint8_t* _fault(Reading* r, int fault) noexcept nogil:
    r.fault = fault
    return NULL


cdef inline void* _room(Reading* r, void* at, size_t count, size_t* room, size_t size) noexcept nogil:
    """Make room for one more; NULL if there is no memory."""
    if count < room[0]:
        return at
    cdef size_t wanted = 2 * room[0] if room[0] else 1024
    cdef void* grown = realloc(at, wanted * size)
    if grown == NULL:
        r.fault = NO_MEMORY
    else:
        room[0] = wanted
    return grown


cdef inline Cell* _new_cell(Reading* r, int slot, uint32_t row) noexcept nogil:
    """A cell that is not counted yet; NULL if there is no memory."""
    cdef Cell* cell = <Cell*>_room(r, r.cells.at, r.cells.count, &r.cells.room, sizeof(Cell))
    if cell == NULL:
        return NULL
    r.cells.at = cell
    cell += r.cells.count
    cell.row, cell.slot, cell.flags = row, <uint16_t>slot, 0
    return cell


cdef inline bint _text_cell(Reading* r, int slot, uint32_t row, const uint8_t* start, const uint8_t* end) noexcept nogil:
    """Add a text that stands in the body as it is."""
    cdef Cell* cell = _new_cell(r, slot, row)
    if cell == NULL:
        return False
    cell.value, cell.length = start - r.base, <int32_t>(end - start)
    r.cells.count += 1
    return True


cdef inline bint _made_cell(Reading* r, int slot, uint32_t row, size_t start) noexcept nogil:
    """Add the text that `made` has from ``start`` on."""
    cdef Cell* cell = _new_cell(r, slot, row)
    if cell == NULL:
        return False
    cell.value, cell.length, cell.flags = start, <int32_t>(r.made.count - start), MADE
    r.cells.count += 1
    return True


cdef inline bint _add_item(Reading* r, uint32_t body, uint32_t index, int table, int item) noexcept nogil:
    """Add a row."""
    cdef Item* added = <Item*>_room(r, r.items.at, r.items.count, &r.items.room, sizeof(Item))
    if added == NULL:
        return False
    r.items.at = added
    added[r.items.count] = Item(body, index, <uint16_t>table, <uint16_t>item)
    r.items.count += 1
    r.rows[table] += 1
    return True


cdef bint _add_odd(Reading* r, int kind, uint32_t index, const uint8_t* start, const uint8_t* end, Name* name) noexcept nogil:
    """Leave a piece to others."""
    cdef Odd* odds = <Odd*>_room(r, r.odds.at, r.odds.count, &r.odds.room, sizeof(Odd))
    if odds == NULL:
        return False
    r.odds.at = odds
    odds[r.odds.count] = Odd(start - r.base, end - r.base, -1, 0, r.body, index, kind)
    if name != NULL:
        odds[r.odds.count].name, odds[r.odds.count].length = name.local - r.base, <uint32_t>name.local_length
    r.odds.count += 1
    return True


cdef inline Mark _mark(Reading* r) noexcept nogil:
    return Mark(r.items.count, r.cells.count, r.odds.count, r.made.count)


cdef inline void _take_back(Reading* r, Mark* mark) noexcept nogil:
    while r.items.count > mark.items:
        r.items.count -= 1
        r.rows[r.items.at[r.items.count].table] -= 1
    r.cells.count, r.odds.count, r.made.count = mark.cells, mark.odds, mark.made


cdef inline bint _reserve(Reading* r, Bytes* to, size_t more) noexcept nogil:
    """Make room for so many more bytes."""
    cdef size_t wanted = to.room if to.room else 4096
    cdef uint8_t* grown
    if to.room - to.count >= more:
        return True
    while wanted - to.count < more:
        wanted *= 2
    grown = <uint8_t*>realloc(to.at, wanted)
    if grown == NULL:
        r.fault = NO_MEMORY
        return False
    to.at, to.room = grown, wanted
    return True


cdef inline bint _put(Reading* r, Bytes* to, uint8_t sign) noexcept nogil:
    if to.count == to.room and not _reserve(r, to, 1):
        return False
    to.at[to.count] = sign
    to.count += 1
    return True


cdef inline bint _puts(Reading* r, Bytes* to, const uint8_t* text, size_t length) noexcept nogil:
    if not _reserve(r, to, length):
        return False
    if length:
        memcpy(to.at + to.count, text, length)
    to.count += length
    return True
