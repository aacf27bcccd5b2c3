# Texts as they are meant: references, sections and line ends decoded, elements within written out, and JSON made of them.
# All of it was read before and is well-formed; every byte is written with a check of the room all the same.

cdef enum:
    # Bytes that JSON has as they are, if it may hold characters beyond ASCII, and in any case.
    SAME = 1
    SAME_IN_ASCII = 2

cdef uint8_t JSON_SIGNS[256]


cdef void _tell_json_signs() noexcept:
    memset(JSON_SIGNS, 0, 32)
    memset(JSON_SIGNS + 32, SAME_IN_ASCII, 95)
    memset(JSON_SIGNS + 127, SAME, 129)
    JSON_SIGNS[34] = JSON_SIGNS[92] = 0


_tell_json_signs()


cdef bint _put_sign(Reading* r, Bytes* to, uint32_t code) noexcept nogil:
    """Add a character in UTF-8."""
    if code < 0x80:
        return _put(r, to, <uint8_t>code)
    if code < 0x800:
        return _put(r, to, <uint8_t>(0xC0 | code >> 6)) and _put(r, to, <uint8_t>(0x80 | code & 63))
    if code < 0x10000:
        if not _put(r, to, <uint8_t>(0xE0 | code >> 12)):
            return False
    elif not (_put(r, to, <uint8_t>(0xF0 | code >> 18)) and _put(r, to, <uint8_t>(0x80 | (code >> 12) & 63))):
        return False
    return _put(r, to, <uint8_t>(0x80 | (code >> 6) & 63)) and _put(r, to, <uint8_t>(0x80 | code & 63))


cdef inline bint _put_escaped(Reading* r, Bytes* to, uint32_t code, bint escape) noexcept nogil:
    """Add a character, with ``escape`` as the text of an element has it."""
    if escape and code == 38:
        return _puts(r, to, b"&amp;", 5)
    if escape and code == 60:
        return _puts(r, to, b"&lt;", 4)
    if escape and code == 62:
        return _puts(r, to, b"&gt;", 4)
    return _put_sign(r, to, code)


cdef const uint8_t* _decode(Reading* r, Bytes* to, const uint8_t* at, const uint8_t* end, bint escape) noexcept nogil:
    """The tag or the end behind some text, which is added to ``to``: without comments and instructions, and with what sections hold. NULL without memory."""
    cdef const uint8_t* stop
    cdef size_t length
    cdef uint32_t code
    cdef bint fits
    while at < end:
        if at[0] == 60:
            if _is(at, end, b"<!--", 4):
                at = _behind(at + 4, end, b"-->", 3)
            elif _is(at, end, b"<?", 2):
                at = _behind(at + 2, end, b"?>", 2)
            elif _is(at, end, b"<![CDATA[", 9):
                at += 9
                stop = _behind(at, end, b"]]>", 3)
                if stop == NULL:
                    return _fault(r, UNSURE)
                while at < stop - 3:
                    fits = True
                    if at[0] == 13:
                        if at[1] != 10:  # a bracket follows at least
                            fits = _put(r, to, 10)
                    else:
                        fits = _put_escaped(r, to, at[0], escape) if at[0] < 128 else _put(r, to, at[0])
                    if not fits:
                        return NULL
                    at += 1
                at = stop
            else:
                return at
            if at == NULL:
                return _fault(r, UNSURE)
            continue
        length = 1
        if at[0] == 38:
            length = _reference(at, end, &code)
            if length == 0:
                return _fault(r, UNSURE)
            fits = _put_escaped(r, to, code, escape)
        elif at[0] == 13:
            fits = at + 1 < end and at[1] == 10 or _put(r, to, 10)
        elif escape and at[0] == 62:
            fits = _puts(r, to, b"&gt;", 4)
        else:
            while at + length < end and TEXT_SIGNS[at[length]] in (ORDINARY, MAYBE_FORBIDDEN):
                length += 1
            fits = _puts(r, to, at, length)
        if not fits:
            return NULL
        at += length
    return at


cdef inline size_t _strip(Bytes* text, size_t start) noexcept nogil:
    """Remove the white space at the end of a text that begins at ``start``; returns where it begins without that before it."""
    while text.count > start and _is_blank(text.at[text.count - 1]):
        text.count -= 1
    while start < text.count and _is_blank(text.at[start]):
        start += 1
    return start


cdef void _move_back(Bytes* text, size_t start, size_t found) noexcept nogil:
    """Close the gap between ``start`` and ``found``."""
    if found > start:
        memmove(text.at + start, text.at + found, text.count - found)
        text.count -= found - start


cdef const uint8_t* _inner(Reading* r, Bytes* to, const uint8_t* at, const uint8_t* end, int depth) noexcept nogil:
    """The end tag or the end behind the content of an element, which is added to ``to`` as `inner_xml` of the strict reader writes it."""
    cdef size_t start = to.count
    cdef const uint8_t* name
    cdef const uint8_t* stop
    if depth > DEEPEST + 1:
        return _fault(r, UNSURE)
    while True:
        at = _decode(r, to, at, end, True)
        if at == NULL:
            return NULL
        if end - at < 2 or at[1] == 47:
            _move_back(to, start, _strip(to, start))
            return at
        name = at + 1
        stop = name
        while stop < end and NAME_SIGNS[stop[0]] != OUTSIDE:
            stop += 1
        if stop < end and stop[0] == 58:
            name = stop + 1
            stop = name
            while stop < end and NAME_SIGNS[stop[0]] != OUTSIDE:
                stop += 1
        at = _rest_of_tag(stop, end)
        if at == NULL:
            return _fault(r, UNSURE)
        if not (_put(r, to, 60) and _puts(r, to, name, stop - name) and _put(r, to, 62)):
            return NULL
        if (at - 1)[0] != 47:
            at = _inner(r, to, at + 1, end, depth + 1)
            if at == NULL:
                return NULL
            at = _rest_of_tag(at + 1, end) if at < end else NULL
            if at == NULL:
                return _fault(r, UNSURE)
        at += 1
        if not (_puts(r, to, b"</", 2) and _puts(r, to, name, stop - name) and _put(r, to, 62)):
            return NULL


cdef bint _put_content(Reading* r, Bytes* to, Child* child, bint escape) noexcept nogil:
    """Add the content of a child: its text, or the XML in it. With ``escape``, always as XML."""
    cdef size_t start = to.count
    if child.nested:
        return _inner(r, to, child.start, child.stop, 0) != NULL
    if not child.marked and not (escape and memchr(child.start, 62, child.stop - child.start)):
        if not _puts(r, to, child.start, child.stop - child.start):
            return False
    elif _decode(r, to, child.start, child.stop, escape) == NULL:
        return False
    _move_back(to, start, _strip(to, start))
    return True


cdef bint _put_json(Reading* r, Bytes* to, const uint8_t* at, const uint8_t* end, bint ascii) noexcept nogil:
    """Add a text as a string of JSON, as Python's writes it; with ``ascii``, without other characters."""
    cdef uint8_t sign, least = SAME_IN_ASCII if ascii else SAME
    cdef uint32_t code
    cdef size_t length
    if not _put(r, to, 34):
        return False
    while at < end:
        sign = at[0]
        length = 1
        if sign == 34 or sign == 92:
            if not (_put(r, to, 92) and _put(r, to, sign)):
                return False
        elif sign == 10 or sign == 13 or sign == 9:
            if not (_put(r, to, 92) and _put(r, to, 110 if sign == 10 else 114 if sign == 13 else 116)):
                return False
        elif not ascii or 32 <= sign < 127:
            while at + length < end and JSON_SIGNS[at[length]] >= least:
                length += 1
            if not _puts(r, to, at, length):
                return False
        else:
            if sign < 128:
                code = sign
            elif sign < 0xE0 and end - at >= 2:
                code, length = ((sign & 31) << 6) | (at[1] & 63), 2
            elif sign < 0xF0 and end - at >= 3:
                code, length = ((sign & 15) << 12) | ((at[1] & 63) << 6) | (at[2] & 63), 3
            elif end - at >= 4:
                code, length = ((sign & 7) << 18) | ((at[1] & 63) << 12) | ((at[2] & 63) << 6) | (at[3] & 63), 4
            else:
                r.fault = UNSURE
                return False
            if code >= 0x10000:
                code -= 0x10000
                if not (_put_hex(r, to, 0xD800 | code >> 10) and _put_hex(r, to, 0xDC00 | code & 0x3FF)):
                    return False
            elif not _put_hex(r, to, code):
                return False
        at += length
    return _put(r, to, 34)


cdef bint _put_hex(Reading* r, Bytes* to, uint32_t code) noexcept nogil:
    cdef const char* digits = b"0123456789abcdef"
    cdef int place
    if not _puts(r, to, b"\\u", 2):
        return False
    for place in range(4):
        if not _put(r, to, digits[(code >> (12 - 4 * place)) & 15]):
            return False
    return True


cdef inline int _compare(const uint8_t* one, size_t its, const uint8_t* other, size_t others) noexcept nogil:
    """The order of two texts by code points, which is that of their bytes."""
    cdef int order
    if its and others and one[0] != other[0]:
        return <int>one[0] - <int>other[0]
    order = memcmp(one, other, its if its < others else others)
    return order if order else (its > others) - (its < others)


cdef bint _put_rescued(Reading* r) noexcept nogil:
    """Add the children that no column takes to `made`, as the JSON object of `_rescued_data`: in the order of their names, with a list where one repeats."""
    cdef Child child
    cdef size_t number, place, first
    cdef bint fits
    for number in range(1, r.rest_count):
        child = r.rest[number]
        place = number
        while place and _compare(r.rest[place - 1].name, r.rest[place - 1].length, child.name, child.length) > 0:
            r.rest[place] = r.rest[place - 1]
            place -= 1
        r.rest[place] = child
    if not _put(r, &r.made, 123):
        return False
    number = 0
    while number < r.rest_count:
        first = number
        child = r.rest[first]
        if first and not _puts(r, &r.made, b", ", 2):
            return False
        if not (_put_json(r, &r.made, child.name, child.name + child.length, False) and _puts(r, &r.made, b": ", 2)):
            return False
        while number < r.rest_count and _compare(r.rest[number].name, r.rest[number].length, child.name, child.length) == 0:
            number += 1
        if number > first + 1 and not _put(r, &r.made, 91):
            return False
        for place in range(first, number):
            r.scratch.count = 0
            fits = place == first or _puts(r, &r.made, b", ", 2)
            fits = fits and _put_content(r, &r.scratch, &r.rest[place], False)
            if not (fits and _put_json(r, &r.made, r.scratch.at, r.scratch.at + r.scratch.count, False)):
                return False
        if number > first + 1 and not _put(r, &r.made, 93):
            return False
    return _put(r, &r.made, 125)


cdef bint _put_identity(Reading* r, const uint8_t* table, size_t length) noexcept nogil:
    """Add what the id of an item without one is made of to `made`: its table, and its children in order, as `_content_id` of the strict reader writes them."""
    cdef size_t starts[MOST_CHILDREN]
    cdef size_t ends[MOST_CHILDREN]
    cdef size_t order[MOST_CHILDREN]
    cdef size_t number, place, count = 0
    cdef int found
    r.scratch.count = 0
    for number in range(r.child_count):
        starts[number] = r.scratch.count
        if not _put_content(r, &r.scratch, &r.children[number], True):
            return False
        ends[number] = r.scratch.count
        if not r.children[number].nested and starts[number] == ends[number]:
            continue
        place = count
        while place:
            found = _compare(r.children[order[place - 1]].name, r.children[order[place - 1]].length, r.children[number].name, r.children[number].length)
            if found == 0:
                found = _compare(
                    r.scratch.at + starts[order[place - 1]], ends[order[place - 1]] - starts[order[place - 1]],
                    r.scratch.at + starts[number], ends[number] - starts[number],
                )
            if found <= 0:
                break
            order[place] = order[place - 1]
            place -= 1
        order[place] = number
        count += 1
    if not (_put(r, &r.made, 91) and _put_json(r, &r.made, table, table + length, True) and _puts(r, &r.made, b", [", 3)):
        return False
    for place in range(count):
        number = order[place]
        if not (_puts(r, &r.made, b", [", 3) if place else _put(r, &r.made, 91)):
            return False
        if not (
            _put_json(r, &r.made, r.children[number].name, r.children[number].name + r.children[number].length, True)
            and _puts(r, &r.made, b", ", 2)
            and _put_json(r, &r.made, r.scratch.at + starts[number], r.scratch.at + ends[number], True)
            and _put(r, &r.made, 93)
        ):
            return False
    return _puts(r, &r.made, b"]]", 2)
