# Bodies that are well-formed: their envelope, and the items in it.

cdef enum:
    # libxml2 refuses a text of more than 10 million bytes.
    LONGEST_BODY = 8388608
    MOST_ENVELOPES = 8

    # What became of a body.
    ELSEWHERE = 0  # nothing of it was read
    READ = 1
    CUT = 2  # it is not well-formed, and was cut into its items

cdef struct Envelope:
    # An open element of the envelope: its start tag, and the number of prefixes that were in scope before it.
    Name name
    const uint8_t* start
    const uint8_t* end
    size_t bounds
    bint of_items


cdef inline bint _is_items(Name* name) noexcept nogil:
    return _equals(name.local, name.local_length, b"ActivityItems", 13)


cdef inline bint _is_envelope(Name* name) noexcept nogil:
    return _is_items(name) or _equals(name.local, name.local_length, b"AccountActivityResponse", 23)


cdef inline bint _is_activity(Name* name) noexcept nogil:
    return name.local_length >= 8 and memcmp(name.local + name.local_length - 8, b"Activity", 8) == 0


cdef const uint8_t* _declaration(const uint8_t* at, const uint8_t* end) noexcept nogil:
    """After a declaration of XML 1.0, in UTF-8 if it says so; where it was if there is none, NULL for any other."""
    cdef const uint8_t* stop
    cdef const uint8_t* value
    cdef uint8_t quote
    cdef int part = 0
    if not _is(at, end, b"<?xml", 5):
        return at
    stop = _behind(at, end, b"?>", 2)
    if stop == NULL:
        return NULL
    at += 5
    stop -= 2
    while True:
        if at < stop and not _is_blank(at[0]):
            return NULL
        at = _unblank(at, stop)
        if at == stop:
            return stop + 2 if part else NULL
        if part == 0 and _is(at, stop, b"version=", 8):
            at, part = at + 8, 1
        elif part == 1 and _is(at, stop, b"encoding=", 9):
            at, part = at + 9, 2
        elif 0 < part < 3 and _is(at, stop, b"standalone=", 11):
            at, part = at + 11, 3
        else:
            return NULL
        if at == stop or at[0] != 34 and at[0] != 39:
            return NULL
        quote, value = at[0], at + 1
        at = value
        while at < stop and at[0] != quote:
            at += 1
        if at == stop:
            return NULL
        if part == 1 and not _equals(value, at - value, b"1.0", 3):
            return NULL
        if part == 2 and not (_equals(value, at - value, b"UTF-8", 5) or _equals(value, at - value, b"utf-8", 5)):
            return NULL
        if part == 3 and not (_equals(value, at - value, b"yes", 3) or _equals(value, at - value, b"no", 2)):
            return NULL
        at += 1


cdef int _body(Reading* r, Grammar grammar, const uint8_t* start, const uint8_t* end, uint32_t* count) noexcept nogil:
    """Read a body, and count its items. Returns what became of it."""
    cdef Mark mark = _mark(r)
    cdef bint begun = False
    cdef int fault
    count[0] = 0
    r.fault = 0
    r.bounds = 0
    if end - start > LONGEST_BODY or start == end:
        return ELSEWHERE
    if _items_of(r, grammar, start, end, count, &begun):
        return READ
    fault = r.fault
    _take_back(r, &mark)
    # Before the root begins a document type may be declared, which nobody reads.
    return _pieces_of(r, grammar, start, end, count) if fault == BROKEN and begun else ELSEWHERE


cdef bint _items_of(Reading* r, Grammar grammar, const uint8_t* at, const uint8_t* end, uint32_t* count, bint* begun) noexcept nogil:
    """Read the items of a body; False with a fault."""
    cdef Envelope envelopes[MOST_ENVELOPES]
    cdef size_t depth = 0, told = 0, bounds
    cdef bint has_items = False, has_text = False, empty, marked
    cdef int section
    cdef Name name
    cdef const uint8_t* start
    section = COMMENT
    while at < end and (_is_blank(at[0]) or _is(at, end, b"\xef\xbb\xbf", 3)):
        at += 1 if _is_blank(at[0]) else 3
    at = _declaration(at, end)
    while at != NULL:
        at = _unblank(at, end)
        if at == end and begun[0] and depth == 0:
            # With text between its items, or without any, a body becomes rejects, which others make.
            if has_text or not (has_items or count[0]):
                r.fault = UNSURE
            return r.fault == 0
        if at < end and at[0] != 60 and depth:
            has_text = True
            at = _text(r, at, end, &marked)
            continue
        if end - at < 2 or at[0] != 60:
            r.fault = BROKEN if at == end or at[0] == 60 else UNSURE
            return False
        start = at
        if at[1] == 33 or at[1] == 63:
            at = _section(r, at, end, &section)
            has_text |= section == CDATA
            continue
        if at[1] == 47:
            if depth == 0:
                r.fault = BROKEN
                return False
            depth -= 1
            told = told if told < depth else depth
            r.bounds = envelopes[depth].bounds
            at = _end_tag(r, at, end, &envelopes[depth].name)
            continue
        if begun[0] and depth == 0:
            r.fault = BROKEN
            return False
        bounds = r.bounds
        at = _qualified(r, start + 1, end, &name)
        if at == NULL:
            return False
        if _is_envelope(&name):
            at = _start_tag(r, start + 1, end, &name, &empty)
            if at == NULL:
                return False
            begun[0] = True
            has_items |= _is_items(&name)
            if empty:
                r.bounds = bounds
                continue
            if depth == MOST_ENVELOPES:
                r.fault = UNSURE
                return False
            envelopes[depth] = Envelope(name, start, at, bounds, _is_items(&name))
            depth += 1
            continue
        if depth == 0:
            r.fault = UNSURE
            return False
        if not (envelopes[depth - 1].of_items or _is_activity(&name)):
            at = _element(r, start, end, 1)
            continue
        at = _start_tag(r, start + 1, end, &name, &empty)
        if at != NULL:
            at = _item(r, grammar, start, at, end, &name, empty, count[0])
        r.bounds = bounds
        if at == NULL:
            if r.fault != UNSURE:
                return False
            r.fault = 0
            at = _balanced(start, end)
            if at == NULL:
                r.fault = UNSURE
                return False
            while told < depth:
                if not _add_odd(r, OPENING, <uint32_t>told, envelopes[told].start, envelopes[told].end, &envelopes[told].name):
                    return False
                told += 1
            if not _add_odd(r, ITEM, count[0], start, at, &name):
                return False
        count[0] += 1
    if r.fault == 0:
        r.fault = UNSURE
    return False
