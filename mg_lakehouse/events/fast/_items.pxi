# Items and their children: which value goes into which column, and what is left over.

cdef enum:
    # How an item is to be read again.
    AS_TEXT = 1  # its columns as texts: a value is not written as machines write it, or the time is missing
    OTHERWISE = 2  # its children are those of another kind of item


cdef const uint8_t* _item(
    Reading* r, Grammar grammar, const uint8_t* start, const uint8_t* at, const uint8_t* end, Name* name, bint empty, uint32_t index,
) noexcept nogil:
    """After the item that begins at ``start``, whose start tag ends at ``at``. Its row is added."""
    cdef Mark mark = _mark(r)
    cdef int kind = grammar._kind(name)
    cdef bint as_text = False
    cdef size_t bounds = r.bounds
    cdef const uint8_t* behind
    if grammar._kinds[kind].table < 0:
        return _fault(r, UNSURE)
    while True:
        r.again = 0
        r.rest_count = r.child_count = 0
        r.bounds = bounds
        behind = _item_as(r, grammar, start, at, end, name, empty, index, kind, as_text)
        if behind != NULL or not r.again:
            break
        _take_back(r, &mark)
        if r.again == OTHERWISE:
            kind = grammar._kinds[kind].other
        else:
            as_text = True
    if behind == NULL:
        _take_back(r, &mark)
    return behind


cdef inline const uint8_t* _again(Reading* r, int how) noexcept nogil:
    """Have an item read once more, in another way."""
    r.again = how
    return NULL


cdef const uint8_t* _item_as(
    Reading* r, Grammar grammar, const uint8_t* start, const uint8_t* at, const uint8_t* end, Name* name, bint empty, uint32_t index, int kind, bint as_text,
) noexcept nogil:
    cdef uint64_t seen = 0, filled = 0, present = 0
    cdef Kind* item = &grammar._kinds[kind]
    cdef int16_t* slot_of = &grammar._slot_of[<size_t>kind * grammar._children]
    cdef int base = <int>grammar._slot_count if as_text else 0
    cdef int table = item.table + (<int>grammar._tables if as_text else 0)
    cdef uint32_t row = r.rows[table]
    cdef size_t bounds = r.bounds
    cdef int section, number, slot, found
    cdef Name tag
    cdef Child child
    cdef bint childless
    cdef Slot* column
    while not empty:
        at = _unblank(at, end)
        if end - at < 2:
            return _fault(r, BROKEN)
        if at[0] != 60:
            return _fault(r, UNSURE)
        if at[1] == 47:
            at = _end_tag(r, at, end, name)
            if at == NULL:
                return NULL
            break
        if at[1] == 33 or at[1] == 63:
            at = _section(r, at, end, &section)
            if at == NULL:
                return NULL
            if section == CDATA:
                return _fault(r, UNSURE)
            continue
        at = _start_tag(r, at + 1, end, &tag, &childless)
        if at == NULL:
            return NULL
        if childless:
            child = Child(tag.local, at, at, tag.local_length, False, False)
        else:
            at = _content(r, at, end, &tag, &child, 1)
            if at == NULL:
                return NULL
        if r.child_count < MOST_CHILDREN:
            r.children[r.child_count] = child
        r.child_count += 1
        number = grammar._child(&tag)
        slot = slot_of[number] if number >= 0 else -1
        if slot >= 0:
            column = &grammar._slots[slot]
            present |= column.bit
            if column.type == LIST:
                if seen & column.bit and column.entry >= 0 or not _entries(r, grammar, column, base, row, &child):
                    return _fault(r, UNSURE) if r.fault == 0 else NULL
                seen |= column.bit
            elif not (seen & column.bit or child.nested):
                seen |= column.bit
                found = _cell(r, base + slot, TEXT if base else column.type, row, &child)
                if found < 0:
                    return NULL if r.fault else _again(r, AS_TEXT)
                if found:
                    filled |= column.bit
            elif column.shared:
                return _fault(r, UNSURE)
            else:
                slot = -1
        if slot < 0:
            if r.rest_count == MOST_CHILDREN:
                return _fault(r, UNSURE)
            r.rest[r.rest_count] = child
            r.rest_count += 1
        r.bounds = bounds
    if item.one_of and not present & item.one_of:
        return _again(r, OTHERWISE)
    if not base and (filled & item.needed) != item.needed:
        return _again(r, AS_TEXT)
    if not _extra_cells(r, grammar, base, item.table, row, start, at, name, (filled & item.id) != 0):
        return NULL
    return at if _add_item(r, r.body, index, table, kind) else NULL


cdef bint _extra_cells(
    Reading* r, Grammar grammar, int base, int table, uint32_t row, const uint8_t* start, const uint8_t* end, Name* name, bint has_id,
) noexcept nogil:
    """Add what is in an item's row beside the columns of its children; False with a fault."""
    cdef Extra* extra = &grammar._extras[table]
    cdef size_t made = r.made.count
    if not has_id:
        if r.child_count > MOST_CHILDREN:
            r.fault = UNSURE
            return False
        if not _put_identity(r, <const uint8_t*>grammar._table_name[table], strlen(grammar._table_name[table])):
            return False
        if not _made_cell(r, base + extra.identity, row, made):
            return False
    if r.rest_count:
        made = r.made.count
        if not (_put_rescued(r) and _made_cell(r, base + extra.rescued, row, made)):
            return False
    if base or extra.element >= 0 and table == grammar._kinds[grammar._unknown].table:
        return (
            _text_cell(r, base + extra.element, row, name.local, name.local + name.local_length)
            and _text_cell(r, base + extra.fragment, row, start, end)
        )
    return True


cdef inline int _cell(Reading* r, int slot, int type, uint32_t row, Child* child) noexcept nogil:
    """Add a child's value. Returns 1 if it has one, 0 if it is empty, -1 if it is not of the type or there is a fault."""
    cdef const uint8_t* start = child.start
    cdef const uint8_t* end = child.stop
    cdef Cell* cell
    cdef size_t made = r.made.count
    if child.marked:
        if _decode(r, &r.made, start, end, False) == NULL:
            return -1
        made = _strip(&r.made, made)
        start, end = r.made.at + made, r.made.at + r.made.count
    else:
        while start < end and _is_blank(start[0]):
            start += 1
        while end > start and _is_blank((end - 1)[0]):
            end -= 1
    if start == end:
        return 0
    if type == TEXT:
        if child.marked:
            return 1 if _made_cell(r, slot, row, made) else -1
        return 1 if _text_cell(r, slot, row, start, end) else -1
    cell = _new_cell(r, slot, row)
    if cell == NULL:
        return -1
    if type == TIME:
        if not _time(start, end, cell):
            return -1
    elif type == NUMBER:
        if not _number_of(start, end, cell):
            return -1
    elif not _truth(start, end, cell):
        return -1
    r.cells.count += 1
    return 1


cdef bint _entries(Reading* r, Grammar grammar, Slot* column, int base, uint32_t row, Child* child) noexcept nogil:
    """Add the entries of an error list. False if it holds anything else: then others read the item. What is in it is known to be well-formed."""
    cdef const uint8_t* at = child.start
    cdef const uint8_t* end = child.stop
    cdef Name tag
    cdef Child entry
    cdef bint empty
    cdef int section
    if column.entry < 0:
        return _entry(r, grammar, column, base, row, child)
    while True:
        at = _unblank(at, end)
        if at == end:
            return True
        if end - at < 2 or at[0] != 60:
            return False
        if at[1] == 33 or at[1] == 63:
            at = _section(r, at, end, &section)
            if at == NULL or section == CDATA:
                return False
            continue
        at = _start_tag(r, at + 1, end, &tag, &empty)
        if at == NULL or grammar._child(&tag) != column.entry:
            return False
        if empty:
            entry = Child(tag.local, at, at, tag.local_length, False, False)
        else:
            at = _content(r, at, end, &tag, &entry, 2)
        if at == NULL or not _entry(r, grammar, column, base, row, &entry):
            return False


cdef bint _entry(Reading* r, Grammar grammar, Slot* column, int base, uint32_t row, Child* entry) noexcept nogil:
    """Add an entry of an error list: a code and a message, each once at most. False if it holds anything else."""
    cdef const uint8_t* at = entry.start
    cdef const uint8_t* end = entry.stop
    cdef int table = column.entries + (<int>grammar._tables if base else 0)
    cdef uint32_t own = r.rows[table]
    cdef Name tag
    cdef Child child
    cdef bint empty, has_code = False, has_message = False
    cdef int section, number
    while True:
        at = _unblank(at, end)
        if at == end:
            return _add_item(r, row, 0, table, 0)
        if end - at < 2 or at[0] != 60:
            return False
        if at[1] == 33 or at[1] == 63:
            at = _section(r, at, end, &section)
            if at == NULL or section == CDATA:
                return False
            continue
        at = _start_tag(r, at + 1, end, &tag, &empty)
        if at == NULL:
            return False
        if empty:
            child = Child(tag.local, at, at, tag.local_length, False, False)
        else:
            at = _content(r, at, end, &tag, &child, 3)
            if at == NULL:
                return False
        number = grammar._child(&tag)
        if child.nested or not (number == grammar._code and not has_code or number == grammar._message and not has_message):
            return False
        has_code |= number == grammar._code
        has_message |= number == grammar._message
        if _cell(r, base + (column.code if number == grammar._code else column.message), TEXT, own, &child) < 0:
            return False
