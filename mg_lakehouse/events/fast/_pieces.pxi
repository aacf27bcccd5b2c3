# Bodies that are not well-formed: cut into their items, of which each is read alone. The same as `cut` of the strict reader, tag by tag.


cdef inline bint _is_space(uint8_t sign) noexcept nogil:
    """White space of ASCII, as Python has it."""
    return sign == 32 or 9 <= sign <= 13 or 28 <= sign <= 31


cdef inline const uint8_t* _wrong(const uint8_t* at, const uint8_t* end, bint* unsure) noexcept nogil:
    """After the name of a tag. ``unsure`` is set if a character may be white space beyond ASCII."""
    while at < end:
        if _is_space(at[0]) or at[0] == 60 or at[0] == 62 or at[0] == 47 or at[0] == 34 or at[0] == 39 or at[0] == 61 or at[0] == 33 or at[0] == 63:
            break
        unsure[0] |= at[0] == 0xC2 or at[0] == 0xE1 or at[0] == 0xE2 or at[0] == 0xE3
        at += 1
    return at


cdef bint _add_piece(Reading* r, const uint8_t* start, const uint8_t* end, const uint8_t* name, size_t length, bint closes, bint empty) noexcept nogil:
    cdef Piece* pieces = <Piece*>_room(r, r.pieces.at, r.pieces.count, &r.pieces.room, sizeof(Piece))
    cdef Piece* piece
    cdef size_t place
    if pieces == NULL:
        return False
    r.pieces.at = pieces
    piece = &pieces[r.pieces.count]
    r.pieces.count += 1
    piece.start, piece.end, piece.closes, piece.empty = start, end, closes, empty
    piece.name = Name(name, name, length, length)
    place = length
    while place and name[place - 1] != 58 and name[place - 1] != 125:
        place -= 1
    piece.name.local, piece.name.local_length = name + place, length - place
    return True


cdef bint _tags(Reading* r, const uint8_t* at, const uint8_t* end) noexcept nogil:
    """List the tags, comments and instructions of a body; False with a fault."""
    cdef const uint8_t* start
    cdef const uint8_t* name
    cdef const uint8_t* behind
    cdef bint no_comment = False, no_section = False, no_instruction = False, closes, unsure = False
    r.pieces.count = 0
    while True:
        start = <const uint8_t*>memchr(at, 60, end - at) if at < end else NULL
        if start == NULL:
            return True
        if _is(start, end, b"<!--", 4):
            behind = NULL if no_comment else _behind(start + 4, end, b"-->", 3)
            no_comment |= behind == NULL
            at = start + 4 if behind == NULL else behind
        elif _is(start, end, b"<![CDATA[", 9):
            behind = NULL if no_section else _behind(start + 9, end, b"]]>", 3)
            no_section |= behind == NULL
            at = start + 9 if behind == NULL else behind
            continue
        elif _is(start, end, b"<?", 2):
            behind = NULL if no_instruction else _behind(start + 2, end, b"?>", 2)
            no_instruction |= behind == NULL
            at = start + 2 if behind == NULL else behind
        else:
            closes = _is(start, end, b"</", 2)
            name = start + 1 + closes
            behind = _wrong(name, end, &unsure)
            if unsure:
                r.fault = UNSURE
                return False
            at = _rest_of_tag(behind, end) if behind > name else NULL
            if at == NULL:
                at = start + 1
            else:
                if not _add_piece(r, start, at + 1, name, behind - name, closes, at > behind and (at - 1)[0] == 47):
                    return False
                at += 1
            continue
        if behind != NULL and not _add_piece(r, start, behind, start, 0, False, True):
            return False


cdef inline bint _is_blank_text(const uint8_t* at, const uint8_t* end) noexcept nogil:
    while at < end:
        if _is_blank(at[0]):
            at += 1
        elif _is(at, end, b"\xef\xbb\xbf", 3):
            at += 3
        else:
            return False
    return True


cdef bint _stray(Reading* r, const uint8_t* start, const uint8_t* end, size_t first, size_t last, uint32_t* count) noexcept nogil:
    """Leave the text between two items to others, unless it is blank without the tags ``first`` to ``last`` of the envelope; False with a fault."""
    cdef const uint8_t* at = start
    cdef size_t number
    cdef bint blank = True
    cdef Piece* tag
    cdef Name* named = NULL
    for number in range(first, last):
        tag = &r.pieces.at[number]
        if tag.name.length == 0 or _is_envelope(&tag.name):
            blank &= _is_blank_text(at, tag.start)
            at = tag.end
        elif named == NULL and not tag.closes:
            named = &tag.name
    if blank and _is_blank_text(at, end):
        return True
    if not _add_odd(r, STRAY, count[0], start, end, named):
        return False
    count[0] += 1
    return True


cdef int _pieces_of(Reading* r, Grammar grammar, const uint8_t* start, const uint8_t* end, uint32_t* count) noexcept nogil:
    """Read the items of a body that is not well-formed, and count the pieces that it was cut into. Returns what became of it."""
    cdef Mark mark = _mark(r)
    count[0] = 0
    r.fault = 0
    r.bounds = 0
    if end - start <= LONGEST_BODY and _tags(r, start, end) and _cut(r, grammar, start, end, count):
        return CUT
    _take_back(r, &mark)
    count[0] = 0
    return ELSEWHERE


cdef bint _cut(Reading* r, Grammar grammar, const uint8_t* start, const uint8_t* end, uint32_t* count) noexcept nogil:
    """Read the items between the tags of a body; False with a fault."""
    cdef size_t tags = r.pieces.count, first, following, closing, number
    cdef Piece* tag
    cdef const uint8_t* limit
    cdef const uint8_t* stop
    first = _next_start(r, 0)
    if first == tags:
        r.fault = UNSURE
        return False
    if not (_open_envelopes(r, first) and _stray(r, start, r.pieces.at[first].start, 0, first, count)):
        return False
    while first < tags:
        following = _next_start(r, first + 1)
        limit = r.pieces.at[following].start if following < tags else end
        tag = &r.pieces.at[first]
        closing = first
        while not tag.empty and closing < following and not (closing > first and r.pieces.at[closing].closes and _same_name(tag, &r.pieces.at[closing])):
            closing += 1
        if closing < following:
            stop = r.pieces.at[closing].end
        else:
            closing = first
            for number in range(first + 1, following):
                if r.pieces.at[number].closes and _is_envelope(&r.pieces.at[number].name):
                    break
                closing = number
            stop = r.pieces.at[closing + 1].start if closing + 1 < following else limit
            while stop > tag.start and _is_space((stop - 1)[0]):
                stop -= 1
            if (stop - 1)[0] >= 128:  # may be white space beyond ASCII
                r.fault = UNSURE
                return False
        if not _piece(r, grammar, tag, stop, count[0]):
            return False
        count[0] += 1
        if not _stray(r, stop, limit, closing + 1, following, count):
            return False
        first = following
    return True


cdef inline size_t _next_start(Reading* r, size_t number) noexcept nogil:
    """The next start tag of an item, from ``number`` on; the number of tags if there is none."""
    while number < r.pieces.count and (r.pieces.at[number].closes or not _is_activity(&r.pieces.at[number].name)):
        number += 1
    return number


cdef inline bint _same_name(Piece* one, Piece* other) noexcept nogil:
    return one.name.length == other.name.length and memcmp(one.name.start, other.name.start, one.name.length) == 0


cdef bint _open_envelopes(Reading* r, size_t first) noexcept nogil:
    """Take the start tags of the envelope, which are before the first item, with the prefixes that they declare; False with a fault."""
    cdef size_t number
    cdef uint32_t depth = 0
    cdef Piece* tag
    cdef Name name
    cdef bint empty
    for number in range(first):
        tag = &r.pieces.at[number]
        if tag.closes or tag.empty or not tag.name.length or not _is_envelope(&tag.name):
            continue
        if depth == MOST_ENVELOPES or _start_tag(r, tag.start + 1, tag.end, &name, &empty) != tag.end:
            r.fault = UNSURE
            return False
        if not _add_odd(r, OPENING, depth, tag.start, tag.end, &name):
            return False
        depth += 1
    return True


cdef bint _piece(Reading* r, Grammar grammar, Piece* tag, const uint8_t* end, uint32_t index) noexcept nogil:
    """Read an item that was cut out, if it is well-formed and the scanner is sure of it; any other is left to others. False without memory."""
    cdef Mark mark = _mark(r)
    cdef size_t bounds = r.bounds
    cdef Name name
    cdef bint empty
    cdef const uint8_t* at = _start_tag(r, tag.start + 1, end, &name, &empty)
    if at != NULL:
        at = _item(r, grammar, tag.start, at, end, &name, empty, index)
    r.bounds = bounds
    if at == end:
        return True
    _take_back(r, &mark)
    if r.fault == NO_MEMORY:
        return False
    r.fault = 0
    return _add_odd(r, PIECE, index, tag.start, end, &tag.name)
