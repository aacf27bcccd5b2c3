# The grammar of XML: names, tags, attributes, references, comments, sections, instructions. What it accepts is well-formed, with namespaces.

cdef enum:
    # Classes of bytes in a text.
    ORDINARY = 0
    OPENS = 1
    CLOSES = 2
    AMPERSAND = 3
    RETURN = 4
    FORBIDDEN = 5
    MAYBE_FORBIDDEN = 6

    # Classes of bytes in a name.
    OUTSIDE = 0
    BEGINS = 1
    INSIDE = 2
    BEYOND = 3  # not ASCII

    # Kinds of sections.
    COMMENT = 0
    CDATA = 1
    INSTRUCTION = 2

    MOST_ATTRIBUTES = 16
    DEEPEST = 64  # libxml2 refuses more than 256 elements in each other
    LONGEST_NAME_AT_ALL = 1000  # and names of 50,000 bytes

cdef uint8_t TEXT_SIGNS[256]
cdef uint8_t NAME_SIGNS[256]


cdef void _tell_signs() noexcept:
    """U+FFFE and U+FFFF, which XML forbids like control characters, begin with EF."""
    memset(TEXT_SIGNS, ORDINARY, 256)
    memset(TEXT_SIGNS, FORBIDDEN, 32)
    TEXT_SIGNS[9] = TEXT_SIGNS[10] = ORDINARY
    TEXT_SIGNS[13] = RETURN
    TEXT_SIGNS[ord("<")] = OPENS
    TEXT_SIGNS[ord(">")] = CLOSES
    TEXT_SIGNS[ord("&")] = AMPERSAND
    TEXT_SIGNS[0xEF] = MAYBE_FORBIDDEN
    memset(NAME_SIGNS, OUTSIDE, 128)
    memset(NAME_SIGNS + 128, BEYOND, 128)
    for sign in b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_":
        NAME_SIGNS[sign] = BEGINS
    for sign in b"0123456789-.":
        NAME_SIGNS[sign] = INSIDE


_tell_signs()


cdef inline bint _is_blank(uint8_t sign) noexcept nogil:
    return sign == 32 or sign == 10 or sign == 13 or sign == 9


cdef inline const uint8_t* _unblank(const uint8_t* at, const uint8_t* end) noexcept nogil:
    while at < end and _is_blank(at[0]):
        at += 1
    return at


cdef inline bint _is(const uint8_t* at, const uint8_t* end, const char* expected, size_t length) noexcept nogil:
    return <size_t>(end - at) >= length and memcmp(at, expected, length) == 0


cdef inline bint _equals(const uint8_t* at, size_t length, const char* expected, size_t others) noexcept nogil:
    return length == others and memcmp(at, expected, length) == 0


cdef inline bint _is_forbidden(const uint8_t* at, const uint8_t* end) noexcept nogil:
    """Whether U+FFFE or U+FFFF is here."""
    return end - at >= 3 and at[0] == 0xEF and at[1] == 0xBF and at[2] >= 0xBE


cdef inline const uint8_t* _forbidden(Reading* r, const uint8_t* at) noexcept nogil:
    """The fault of a character that XML forbids. libxml2 takes a zero byte for the end of the text in some places."""
    return _fault(r, BROKEN if at[0] else UNSURE)


cdef inline size_t _reference(const uint8_t* at, const uint8_t* end, uint32_t* code) noexcept nogil:
    """Length of the reference that begins at the ampersand at ``at``, and its character; 0 if it is not one that a text may have."""
    cdef const uint8_t* start = at
    cdef uint32_t base = 10
    cdef uint8_t sign, lower
    cdef uint32_t digit
    if _is(at, end, b"&amp;", 5):
        code[0] = 38
        return 5
    if _is(at, end, b"&lt;", 4):
        code[0] = 60
        return 4
    if _is(at, end, b"&gt;", 4):
        code[0] = 62
        return 4
    if _is(at, end, b"&quot;", 6):
        code[0] = 34
        return 6
    if _is(at, end, b"&apos;", 6):
        code[0] = 39
        return 6
    if not _is(at, end, b"&#", 2):
        return 0
    at += 2
    if at < end and at[0] == 120:
        base = 16
        at += 1
    code[0] = 0
    if at == end or at[0] == 59:
        return 0
    while at < end and at[0] != 59:
        sign, lower = at[0], at[0] | 32
        if 48 <= sign <= 57:
            digit = sign - 48
        elif base == 16 and 97 <= lower <= 102:
            digit = lower - 87
        else:
            return 0
        code[0] = base * code[0] + digit
        if code[0] > 0x10FFFF:
            return 0
        at += 1
    if at == end:
        return 0
    if code[0] < 32 and code[0] != 9 and code[0] != 10 and code[0] != 13:
        return 0
    if 0xD800 <= code[0] < 0xE000 or code[0] == 0xFFFE or code[0] == 0xFFFF:
        return 0
    return at + 1 - start


cdef inline const uint8_t* _text(Reading* r, const uint8_t* at, const uint8_t* end, bint* marked) noexcept nogil:
    """The ``<`` after a text. ``marked`` is set if the text has a reference or a carriage return."""
    cdef const uint8_t* start = at
    cdef uint8_t sign
    cdef uint32_t code
    cdef size_t length
    while at < end:
        sign = TEXT_SIGNS[at[0]]
        if sign == ORDINARY:
            at += 1
        elif sign == OPENS:
            return at
        elif sign == AMPERSAND:
            length = _reference(at, end, &code)
            if length == 0:
                return _fault(r, BROKEN)
            marked[0] = True
            at += length
        elif sign == RETURN:
            marked[0] = True
            at += 1
        elif sign == CLOSES:
            if at - start >= 2 and (at - 1)[0] == 93 and (at - 2)[0] == 93:
                return _fault(r, BROKEN)
            at += 1
        elif sign == MAYBE_FORBIDDEN and not _is_forbidden(at, end):
            at += 1
        else:
            return _forbidden(r, at)
    return _fault(r, BROKEN)


cdef size_t _sign_of_name(const uint8_t* at, const uint8_t* end, bint begins) noexcept nogil:
    """Length of a character that is not ASCII and may be in a name, or begin one; 0 for another."""
    cdef uint32_t code
    cdef size_t length
    if end - at >= 2 and 0xC2 <= at[0] < 0xE0:
        code, length = ((at[0] & 31) << 6) | (at[1] & 63), 2
    elif end - at >= 3 and 0xE0 <= at[0] < 0xF0:
        code, length = ((at[0] & 15) << 12) | ((at[1] & 63) << 6) | (at[2] & 63), 3
    elif end - at >= 4 and 0xF0 <= at[0] < 0xF5:
        code, length = ((at[0] & 7) << 18) | ((at[1] & 63) << 12) | ((at[2] & 63) << 6) | (at[3] & 63), 4
    else:
        return 0
    if (
        0xC0 <= code <= 0x2FF and code != 0xD7 and code != 0xF7 or 0x370 <= code <= 0x37D or 0x37F <= code <= 0x1FFF and code != 0x1680
        or 0x200C <= code <= 0x200D or 0x2070 <= code <= 0x218F or 0x2C00 <= code <= 0x2FEF or 0x3001 <= code <= 0xD7FF
        or 0xF900 <= code <= 0xFDCF or 0xFDF0 <= code <= 0xFFFD or 0x10000 <= code <= 0xEFFFF
    ):  # U+1680 is a letter to XML and white space to Python
        return length
    if not begins and (code == 0xB7 or 0x300 <= code <= 0x36F or 0x203F <= code <= 0x2040):
        return length
    return 0


cdef inline const uint8_t* _name(Reading* r, const uint8_t* at, const uint8_t* end) noexcept nogil:
    """After a name without a colon."""
    cdef const uint8_t* start = at
    cdef uint8_t sign
    cdef size_t length
    while at < end:
        sign = NAME_SIGNS[at[0]]
        if sign == BEGINS or sign == INSIDE and at > start:
            at += 1
        elif sign == BEYOND:
            length = _sign_of_name(at, end, at == start)
            if length == 0:
                return _fault(r, UNSURE)
            at += length
        else:
            break
    if at == start:
        return _forbidden(r, at) if at < end else _fault(r, BROKEN)
    return at


cdef inline const uint8_t* _qualified(Reading* r, const uint8_t* at, const uint8_t* end, Name* name) noexcept nogil:
    """After a name with or without a prefix."""
    cdef const uint8_t* start = at
    at = _name(r, at, end)
    if at == NULL:
        return NULL
    name.start = name.local = start
    if at < end and at[0] == 58:
        name.local = at + 1
        at = _name(r, at + 1, end)
        if at == NULL or at < end and at[0] == 58:
            return _fault(r, UNSURE)
    name.length, name.local_length = at - start, at - name.local
    return at if name.length <= LONGEST_NAME_AT_ALL else _fault(r, UNSURE)


cdef bint _is_bound(Reading* r, Name* name) noexcept nogil:
    """Whether a name has no prefix, or one that is declared."""
    cdef size_t length, number
    if name.local == name.start:
        return True
    length = name.local - name.start - 1
    for number in range(r.bounds):
        if r.bound[number].length == length and memcmp(r.bound[number].start, name.start, length) == 0:
            return True
    return False


cdef inline const uint8_t* _start_tag(Reading* r, const uint8_t* at, const uint8_t* end, Name* name, bint* empty) noexcept nogil:
    """After the start tag whose name is at ``at``. The prefixes that it declares are in scope."""
    at = _qualified(r, at, end, name)
    if at == NULL:
        return NULL
    if at < end and at[0] == 62:
        empty[0] = False
        at += 1
    else:
        at = _attributes(r, at, end, empty)
        if at == NULL:
            return NULL
    if name.local != name.start and not _is_bound(r, name):
        return _fault(r, UNSURE)
    return at


cdef const uint8_t* _attributes(Reading* r, const uint8_t* at, const uint8_t* end, bint* empty) noexcept nogil:
    """After the rest of a start tag, from behind its name."""
    cdef Name names[MOST_ATTRIBUTES]
    cdef size_t count = 0, number
    cdef const uint8_t* behind
    cdef const uint8_t* start
    cdef Name* name
    while True:
        behind = _unblank(at, end)
        if behind == end:
            return _fault(r, BROKEN)
        if behind[0] == 62:
            empty[0] = False
            at = behind + 1
            break
        if behind[0] == 47:
            if end - behind < 2 or behind[1] != 62:
                return _fault(r, BROKEN)
            empty[0] = True
            at = behind + 2
            break
        if behind == at:
            return _forbidden(r, at)
        if count == MOST_ATTRIBUTES:
            return _fault(r, UNSURE)
        name = &names[count]
        at = _qualified(r, behind, end, name)
        if at == NULL:
            return NULL
        at = _unblank(at, end)
        if at == end or at[0] != 61:
            return _fault(r, BROKEN)
        at = _unblank(at + 1, end)
        if at == end or at[0] != 34 and at[0] != 39:
            return _fault(r, BROKEN)
        start = at + 1
        at = _value(r, start, end, at[0])
        if at == NULL:
            return NULL
        for number in range(count):
            if _may_be_one(&names[number], name):
                return _fault(r, UNSURE)
        if not _declare(r, name, start, at):
            return _fault(r, UNSURE)
        count += 1
        at += 1
    for number in range(count):
        name = &names[number]
        if _is(name.start, name.local, b"xmlns:", 6) or _is(name.start, name.local, b"xml:", 4):
            continue
        if not _is_bound(r, name):
            return _fault(r, UNSURE)
    return at


cdef bint _may_be_one(Name* one, Name* other) noexcept nogil:
    """Whether two attributes have the same name, or maybe: two prefixes can be of one namespace."""
    if not _equals(one.local, one.local_length, <const char*>other.local, other.local_length):
        return False
    if one.local == one.start or other.local == other.start:
        return one.length == other.length
    return _is(one.start, one.local, b"xmlns:", 6) == _is(other.start, other.local, b"xmlns:", 6)


cdef const uint8_t* _value(Reading* r, const uint8_t* at, const uint8_t* end, uint8_t quote) noexcept nogil:
    """The quote that ends an attribute's value."""
    cdef uint8_t sign
    cdef uint32_t code
    cdef size_t length
    while at < end:
        if at[0] == quote:
            return at
        sign = TEXT_SIGNS[at[0]]
        if sign == AMPERSAND:
            length = _reference(at, end, &code)
            if length == 0:
                return _fault(r, BROKEN)
            at += length
            continue
        if sign == OPENS or sign == FORBIDDEN or sign == MAYBE_FORBIDDEN and _is_forbidden(at, end):
            return _forbidden(r, at)
        at += 1
    return _fault(r, BROKEN)


cdef bint _declare(Reading* r, Name* name, const uint8_t* start, const uint8_t* end) noexcept nogil:
    """Take note of an attribute that declares a prefix. False if it needs another judge: names of XML's own, and addresses out of the ordinary."""
    if name.local == name.start:
        return not _equals(name.start, name.length, b"xmlns", 5) or start == end or _is_address(start, end)
    if _is(name.start, name.local, b"xml:", 4):
        return _equals(name.local, name.local_length, b"space", 5) or _equals(name.local, name.local_length, b"lang", 4)
    if not _is(name.start, name.local, b"xmlns:", 6):
        return True
    if r.bounds == MOST_BOUND or _is(name.local, name.local + name.local_length, b"xml", 3) or not _is_address(start, end):
        return False
    r.bound[r.bounds] = Prefix(name.local, name.local_length)
    r.bounds += 1
    return True


cdef bint _is_address(const uint8_t* at, const uint8_t* end) noexcept nogil:
    """Whether a namespace is an address as nearly all are: libxml2 looks at the syntax of others, and refuses to bind two of XML's own."""
    cdef const uint8_t* start = at
    if _equals(at, end - at, b"http://www.w3.org/XML/1998/namespace", 36) or _equals(at, end - at, b"http://www.w3.org/2000/xmlns/", 29):
        return False
    if _is(at, end, b"http://", 7) or _is(at, end, b"https://", 8):
        at += 7 + (at[4] == 115)
    elif _is(at, end, b"urn:", 4):
        at += 4
    else:
        return False
    start = at
    while at < end and (NAME_SIGNS[at[0]] == BEGINS or NAME_SIGNS[at[0]] == INSIDE or at[0] == 47 and at > start):
        at += 1
    return at == end and at > start


cdef inline const uint8_t* _end_tag(Reading* r, const uint8_t* at, const uint8_t* end, Name* name) noexcept nogil:
    """After the end tag that begins at ``at``, which must be that of the element ``name``."""
    at += 2
    if <size_t>(end - at) <= name.length or memcmp(at, name.start, name.length) != 0:
        return _fault(r, BROKEN)
    at += name.length
    if at[0] == 62:
        return at + 1
    at = _unblank(at, end)
    if at == end or at[0] != 62:
        return _fault(r, BROKEN)
    return at + 1


cdef const uint8_t* _section(Reading* r, const uint8_t* at, const uint8_t* end, int* kind) noexcept nogil:
    """After the comment, CDATA section or processing instruction that begins at ``at``, with ``<!`` or ``<?``."""
    cdef const uint8_t* start
    if _is(at, end, b"<!--", 4):
        kind[0] = COMMENT
        at = _until(r, at + 4, end, b"--", 2)
        if at != NULL and (at == end or at[0] != 62):
            return _fault(r, UNSURE)
        return at + 1 if at != NULL else NULL
    if _is(at, end, b"<![CDATA[", 9):
        kind[0] = CDATA
        return _until(r, at + 9, end, b"]]>", 3)
    if at[1] != 63:
        return _fault(r, BROKEN)
    kind[0] = INSTRUCTION
    start = at + 2
    at = _name(r, start, end)
    if at == NULL:
        return NULL
    if at - start > LONGEST_NAME_AT_ALL or (start[0] | 32) == 120 and end - start > 2 and (start[1] | 32) == 109 and (start[2] | 32) == 108:
        return _fault(r, UNSURE)  # xml, or a name that XML keeps to itself
    if not _is(at, end, b"?>", 2) and (at == end or not _is_blank(at[0])):
        return _fault(r, UNSURE)
    return _until(r, at, end, b"?>", 2)


cdef const uint8_t* _until(Reading* r, const uint8_t* at, const uint8_t* end, const char* closing, size_t length) noexcept nogil:
    """After the first ``closing``."""
    cdef uint8_t sign
    while at < end:
        if at[0] == closing[0] and _is(at, end, closing, length):
            return at + length
        sign = TEXT_SIGNS[at[0]]
        if sign == FORBIDDEN or sign == MAYBE_FORBIDDEN and _is_forbidden(at, end):
            return _forbidden(r, at)
        at += 1
    return _fault(r, BROKEN)


cdef const uint8_t* _content(Reading* r, const uint8_t* at, const uint8_t* end, Name* name, Child* child, int depth) noexcept nogil:
    """After the end tag of an element whose content begins at ``at``. ``child`` gets the content."""
    cdef int kind
    child.name, child.length = name.local, name.local_length
    child.start = at
    child.marked = child.nested = False
    while True:
        at = _text(r, at, end, &child.marked)
        if at == NULL:
            return NULL
        if end - at < 2:
            return _fault(r, BROKEN)
        if at[1] == 47:
            child.stop = at
            return _end_tag(r, at, end, name)
        if at[1] == 33 or at[1] == 63:
            child.marked = True
            at = _section(r, at, end, &kind)
        else:
            child.nested = True
            at = _element(r, at, end, depth + 1)
        if at == NULL:
            return NULL


cdef const uint8_t* _element(Reading* r, const uint8_t* at, const uint8_t* end, int depth) noexcept nogil:
    """After the element whose start tag begins at ``at``."""
    cdef Name name
    cdef Child child
    cdef bint empty
    cdef size_t bounds = r.bounds
    if depth > DEEPEST:
        return _fault(r, UNSURE)
    at = _start_tag(r, at + 1, end, &name, &empty)
    if at != NULL and not empty:
        at = _content(r, at, end, &name, &child, depth)
    r.bounds = bounds
    return at


cdef const uint8_t* _behind(const uint8_t* at, const uint8_t* end, const char* closing, size_t length) noexcept nogil:
    """After the first ``closing``; NULL if there is none."""
    while at < end:
        at = <const uint8_t*>memchr(at, closing[0], end - at)
        if at == NULL:
            return NULL
        if _is(at, end, closing, length):
            return at + length
        at += 1
    return NULL


cdef const uint8_t* _rest_of_tag(const uint8_t* at, const uint8_t* end) noexcept nogil:
    """The ``>`` of a tag, from behind its name; NULL if a ``<`` comes first or a value never ends."""
    cdef uint8_t quote = 0
    while at < end and at[0] != 60:
        if quote:
            if at[0] == quote:
                quote = 0
        elif at[0] == 62:
            return at
        elif at[0] == 34 or at[0] == 39:
            quote = at[0]
        at += 1
    return NULL


cdef const uint8_t* _balanced(const uint8_t* at, const uint8_t* end) noexcept nogil:
    """After the element that begins at ``at``, if it is well-formed, by counting tags; NULL if they do not balance. Another reader says if it is."""
    cdef size_t depth = 0
    cdef bint closes
    while True:
        at = <const uint8_t*>memchr(at, 60, end - at) if at < end else NULL
        if at == NULL:
            return NULL
        if _is(at, end, b"<!--", 4):
            at = _behind(at + 4, end, b"-->", 3)
        elif _is(at, end, b"<![CDATA[", 9):
            at = _behind(at + 9, end, b"]]>", 3)
        elif _is(at, end, b"<?", 2):
            at = _behind(at + 2, end, b"?>", 2)
        else:
            closes = _is(at, end, b"</", 2)
            at = _rest_of_tag(at + 1, end)
            if at == NULL:
                return NULL
            if closes:
                if depth == 0:
                    return NULL
                depth -= 1
            elif (at - 1)[0] != 47:
                depth += 1
            at += 1
            if depth == 0:
                return at
        if at == NULL:
            return NULL
