# cython: language_level=3, boundscheck=False, wraparound=False
"""The compiled form of :func:`mg_lakehouse.events.item_count.count_starts`, over a batch of bodies, without the interpreter's lock.

It shares nothing with the readers on purpose: it must not overlook what they overlook.
"""

from cpython.bytearray cimport PyByteArray_AS_STRING
from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memchr, memcmp, memset

cdef enum:
    DEEPEST = 4096
    # Classes of bytes in a tag: of a plain name, of another XML name, or one that ends a name or quotes.
    NAME = 0
    ODD = 1
    ENDS = 2

cdef uint8_t SIGNS[256]


cdef void _tell_signs() noexcept:
    memset(SIGNS, ODD, 256)
    for sign in b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.:-":
        SIGNS[sign] = NAME
    for sign in b" \t\r\n\x0b\x0c<>/\"'=!?":
        SIGNS[sign] = ENDS


_tell_signs()

cdef struct Open:
    # An open element, by its name as written.
    const uint8_t* name
    size_t length


cdef inline bint _is(const uint8_t* at, const uint8_t* end, const char* expected, size_t length) noexcept nogil:
    return <size_t>(end - at) >= length and memcmp(at, expected, length) == 0


cdef const uint8_t* _behind(const uint8_t* at, const uint8_t* end, const char* closing, size_t length) noexcept nogil:
    """After the first ``closing`` from ``at`` on; NULL if there is none."""
    while True:
        at = <const uint8_t*>memchr(at, closing[0], end - at) if at < end else NULL
        if at == NULL:
            return NULL
        if _is(at, end, closing, length):
            return at + length
        at += 1


cdef inline bint _is_envelope(const uint8_t* name, size_t length) noexcept nogil:
    """Whether a name's local part is that of an envelope."""
    if length >= 13 and memcmp(name + length - 13, b"ActivityItems", 13) == 0:
        return length == 13 or name[length - 14] == 58
    if length >= 23 and memcmp(name + length - 23, b"AccountActivityResponse", 23) == 0:
        return length == 23 or name[length - 24] == 58
    return False


cdef inline const uint8_t* _unblank(const uint8_t* at, const uint8_t* end) noexcept nogil:
    while at < end and (at[0] == 32 or at[0] == 10 or at[0] == 13 or at[0] == 9):
        at += 1
    return at


cdef bint _has_sections(const uint8_t* at, const uint8_t* end) noexcept nogil:
    """Whether a comment, a CDATA section, a processing instruction or something similar begins."""
    cdef uint8_t found = 0
    cdef size_t place
    cdef size_t count = end - at - 1 if end > at else 0
    for place in range(count):  # compilers vectorize this loop
        found |= (at[place] == 60) & ((at[place + 1] == 33) | (at[place + 1] == 63))
    return found


cdef int64_t _in_order(const uint8_t* at, const uint8_t* end) noexcept nogil:
    """Items of a body that has only items in its envelope, one after the other, each up to its end tag; -1 for any other body."""
    cdef const uint8_t* name
    cdef const uint8_t* root
    cdef size_t length, root_length
    cdef int64_t found = 0
    if _is(at, end, b"\xef\xbb\xbf", 3):
        at += 3
    at = _unblank(at, end)
    if _is(at, end, b"<?xml", 5):
        at = _behind(at, end, b"?>", 2)
        if at == NULL:
            return -1
        at = _unblank(at, end)
    root = at + 1
    if at >= end or at[0] != 60:
        return -1
    at = root
    while at < end and SIGNS[at[0]] == NAME:
        at += 1
    root_length = at - root
    if root_length < 13 or memcmp(at - 13, b"ActivityItems", 13) != 0 or not _is_envelope(root, root_length):
        return -1
    if at == end or not (at[0] == 62 or at[0] == 32 or at[0] == 10 or at[0] == 13 or at[0] == 9):
        return -1
    at = _end_of_tag(at, end)
    if at == end or (at - 1)[0] == 47 or _has_sections(at, end):
        return -1
    at += 1
    while True:
        at = _unblank(at, end)
        if end - at < 3 or at[0] != 60:
            return -1
        at += 1
        if at[0] == 47:
            if <size_t>(end - at) < root_length + 2 or memcmp(at + 1, root, root_length) != 0 or at[root_length + 1] != 62:
                return -1
            return found if _unblank(at + root_length + 2, end) == end else -1
        name = at
        while at < end and SIGNS[at[0]] == NAME:
            at += 1
        length = at - name
        if at == end or at[0] != 62 or length < 8 or memcmp(at - 8, b"Activity", 8) != 0:
            return -1
        at += length - 1  # the `v` of an end tag that follows at once: the rarest letter, and `memchr` is three times as fast as any search
        while True:
            at = <const uint8_t*>memchr(at, 118, end - at) if at < end else NULL
            if at == NULL or end - at < 5:
                return -1
            at += 4
            if at[0] == 62 and memcmp(at - length, name, length) == 0 and (at - length - 1)[0] == 47 and (at - length - 2)[0] == 60:
                break
            at -= 3
        found += 1
        at += 1


cdef uint32_t _count(const uint8_t* at, const uint8_t* end, Open* stack) noexcept nogil:
    cdef const uint8_t* start
    cdef const uint8_t* name
    cdef const uint8_t* behind
    cdef uint32_t flat = 0, deep = 0
    cdef size_t depth = 0, envelopes = 0, length
    cdef bint balanced = True, closes, plain, empty, item
    cdef bint no_comment = False, no_section = False, no_instruction = False
    while at < end:
        start = <const uint8_t*>memchr(at, 60, end - at)
        if start == NULL:
            break
        at = start + 1
        if at < end and (at[0] == 33 or at[0] == 63):
            if _is(start, end, b"<!--", 4):
                behind = NULL if no_comment else _behind(start + 4, end, b"-->", 3)
                no_comment |= behind == NULL
                at = start + 4
            elif _is(start, end, b"<![CDATA[", 9):
                behind = NULL if no_section else _behind(start + 9, end, b"]]>", 3)
                no_section |= behind == NULL
                at = start + 9
            elif at[0] == 63:
                behind = NULL if no_instruction else _behind(start + 2, end, b"?>", 2)
                no_instruction |= behind == NULL
                at = start + 2
            else:
                behind = NULL
            if behind == NULL:
                balanced = False
            else:
                at = behind
            continue
        if balanced and depth and at < end and at[0] == 47:  # the expected end tag, as nearly all are
            length = stack[depth - 1].length
            if <size_t>(end - at) > length + 1 and at[length + 1] == 62 and memcmp(at + 1, stack[depth - 1].name, length) == 0:
                at += length + 2
                depth -= 1
                if envelopes > depth:
                    envelopes = depth
                continue
        closes = at < end and at[0] == 47
        name = at + closes
        at = name
        plain = True
        while at < end and SIGNS[at[0]] != ENDS:
            plain &= SIGNS[at[0]] == NAME
            at += 1
        length = at - name
        if at < end and at[0] != 62:
            at = _end_of_tag(at, end)
        if length == 0 or at >= end:
            balanced = False
            at = start + 1
            continue
        empty = not closes and (at - 1)[0] == 47
        at += 1
        if closes:
            if not balanced:
                continue
            if depth == 0 or stack[depth - 1].length != length or memcmp(stack[depth - 1].name, name, length) != 0:
                balanced = False
                continue
            depth -= 1
            if envelopes > depth:
                envelopes = depth
            continue
        item = plain and length >= 8 and memcmp(name + length - 8, b"Activity", 8) == 0
        flat += item
        if not balanced:
            continue
        if item and depth and envelopes == depth:
            deep += 1
        if empty:
            continue
        if depth == DEEPEST:
            balanced = False
            continue
        stack[depth].name, stack[depth].length = name, length
        if envelopes == depth and _is_envelope(name, length):
            envelopes += 1
        depth += 1
    return deep if balanced and depth == 0 else flat


cdef const uint8_t* _end_of_tag(const uint8_t* at, const uint8_t* end) noexcept nogil:
    """The ``>`` of a tag; ``end`` if a ``<`` comes first or a value never closes."""
    cdef uint8_t quote = 0
    while at < end:
        if at[0] == 60:
            return end
        if quote:
            if at[0] == quote:
                quote = 0
        elif at[0] == 62:
            return at
        elif at[0] == 34 or at[0] == 39:
            quote = at[0]
        at += 1
    return end


def count(const uint8_t[::1] data, const int64_t[::1] offsets):
    """Starts (UInt32) of items in each of the bodies, which follow each other in ``data``, with one more offset than there are bodies.

    Raises:
        ValueError: the offsets do not ascend within the data.
        MemoryError: there is no memory.
    """
    cdef size_t bodies = offsets.shape[0] - 1
    cdef size_t body
    cdef const uint8_t* base = &data[0] if data.shape[0] else NULL
    cdef Open* stack = <Open*>malloc(DEEPEST * sizeof(Open))
    cdef int64_t in_order
    found = bytearray(bodies * 4)
    cdef uint32_t* counts = <uint32_t*>PyByteArray_AS_STRING(found)
    try:
        if stack == NULL:
            raise MemoryError
        for body in range(bodies):
            if not 0 <= offsets[body] <= offsets[body + 1] <= data.shape[0]:
                raise ValueError("The offsets of the bodies do not ascend within their data.")
        with nogil:
            for body in range(bodies):
                in_order = _in_order(base + offsets[body], base + offsets[body + 1])
                if in_order < 0:
                    counts[body] = _count(base + offsets[body], base + offsets[body + 1], stack)
                else:
                    counts[body] = <uint32_t>in_order
    finally:
        free(stack)
    return found
