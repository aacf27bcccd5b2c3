# Values of children that are no texts, written as machines write them.

cdef int DAYS_BEFORE[13]
DAYS_BEFORE[:] = [0, 0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334]


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
    """Whether a text is an ``xsd:dateTime`` as machines write it: of the years 1900 to 2199, and no 24 o'clock. Microseconds since 1970, in UTC.

    Files of the AccountActivity API have a blank for the T, and offsets without a colon, as `_LOOSE` of the strict reader takes them.
    """
    cdef int64_t year, month, day, hour, minute, second, micros = 0, offset = 0, minutes = 0, days
    cdef int place
    cdef bint leaps
    if end - at < 19 or at[4] != 45 or at[7] != 45 or at[10] != 84 and at[10] != 32 or at[13] != 58 or at[16] != 58:
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
    cell.flags = ZONED if at < end else 0
    if end - at >= 3 and (at[0] == 43 or at[0] == 45):
        offset = _digits(at + 1, 2)
        if end - at == 6 and at[3] == 58:
            minutes = _digits(at + 4, 2)
        elif end - at == 5:
            minutes = _digits(at + 3, 2)
        elif end - at != 3:
            return False
        if offset < 0 or not 0 <= minutes < 60:
            return False
        offset = 60 * offset + minutes
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
