# The head of an answer: what is regular is read here, what is not is left to `read_head`.

cdef enum:
    _STATUS_LINE_LEAST = 12  # HTTP/1.1 200
    _LENGTH_DIGITS_MAX = 18

cdef uint8_t _is_token[256]


@cython.final
cdef class Memo:
    """The newest regular head of one request's answers, with its empty line: the next one is often the same."""

    cdef bytes whole   # None: there is none yet
    cdef bytes head    # without the empty line
    cdef int status
    cdef int64_t length
    cdef bint keeps_alive


cdef bint _same(const char *text, const char *lower, Py_ssize_t size) noexcept nogil:
    """Return whether text is a lower-case word of letters and dashes, whatever its own case."""
    cdef Py_ssize_t place
    for place in range(size):
        # Also folds some other characters, but none of them into a letter or a dash.
        if (text[place] | 0x20) != lower[place]:
            return False
    return True


cdef bint _read_regular(const char *head, Py_ssize_t size, Memo memo) noexcept nogil:
    """Read a head without its empty line; return False for whatever `read_head` should judge.

    Regular is a final answer with valid lines, at most one plain Content-Length, no Transfer-Encoding, and a
    Connection of a single known word. For such the result is that of `read_head`.
    """
    cdef Py_ssize_t at = _STATUS_LINE_LEAST, begin, colon, end
    cdef bint closes = False, keeps = False, is_old
    cdef int64_t length = -1
    cdef int status
    if size < _STATUS_LINE_LEAST or memcmp(head, b"HTTP/1.", 7) or head[8] != b" ":
        return False
    if head[7] != b"0" and head[7] != b"1":
        return False
    is_old = head[7] == b"0"
    for begin in range(9, 12):
        if not b"0" <= head[begin] <= b"9":
            return False
    status = (head[9] - 48) * 100 + (head[10] - 48) * 10 + (head[11] - 48)
    if status < 200:
        return False
    if at < size and head[at] != b" " and head[at] != b"\r":
        return False
    at = _end_of_line(head, at, size)
    while 0 <= at < size:
        at += 2
        begin = at
        while at < size and _is_token[<uint8_t>head[at]]:
            at += 1
        colon = at
        if colon == begin or colon >= size or head[colon] != b":":
            return False
        at = end = _end_of_line(head, colon + 1, size)
        if at < 0:
            return False
        if colon - begin not in (10, 14, 17):
            continue
        if colon - begin == 17 and _same(head + begin, b"transfer-encoding", 17):
            return False
        if colon - begin == 14 and _same(head + begin, b"content-length", 14):
            if length >= 0:
                return False
            length = _plain_number(head, colon + 1, end)
            if length < 0:
                return False
        elif colon - begin == 10 and _same(head + begin, b"connection", 10):
            begin = colon + 1
            while begin < end and (head[begin] == b" " or head[begin] == b"\t"):
                begin += 1
            while end > begin and (head[end - 1] == b" " or head[end - 1] == b"\t"):
                end -= 1
            if end - begin == 5 and _same(head + begin, b"close", 5):
                closes = True
            elif end - begin == 10 and _same(head + begin, b"keep-alive", 10):
                keeps = True
            else:
                return False
    if at < 0:
        return False
    if status == 204 or status == 304:
        length = 0
    elif length < 0:
        return False
    memo.status = status
    memo.length = length
    memo.keeps_alive = not closes and (keeps or not is_old)
    return True


cdef Py_ssize_t _end_of_line(const char *head, Py_ssize_t at, Py_ssize_t size) noexcept nogil:
    """Return where a line ends: before its CRLF or at the end; -1 if a CR, LF or NUL stands alone in it."""
    while at < size:
        # The rest of what a line may hold lies above CR, but for the other control characters.
        if <uint8_t>head[at] <= 13:
            if head[at] == b"\r":
                return at if at + 1 < size and head[at + 1] == b"\n" else -1
            if head[at] == b"\n" or head[at] == 0:
                return -1
        at += 1
    return at


cdef int64_t _plain_number(const char *head, Py_ssize_t begin, Py_ssize_t end) noexcept nogil:
    """Return the number that a value is, blanks around it allowed; -1 if it is none of 1 to 18 digits."""
    cdef int64_t number = 0
    cdef Py_ssize_t at
    while begin < end and (head[begin] == b" " or head[begin] == b"\t"):
        begin += 1
    while end > begin and (head[end - 1] == b" " or head[end - 1] == b"\t"):
        end -= 1
    if not 0 < end - begin <= _LENGTH_DIGITS_MAX:
        return -1
    for at in range(begin, end):
        if not b"0" <= head[at] <= b"9":
            return -1
        number = number * 10 + (head[at] - 48)
    return number


def regular_head(bytes head):
    """Return (status, length, keeps_alive) of a regular head without its empty line, else None; for tests of this law."""
    cdef Memo memo = Memo.__new__(Memo)
    if not _read_regular(PyBytes_AS_STRING(head), PyBytes_GET_SIZE(head), memo):
        return None
    return memo.status, memo.length, bool(memo.keeps_alive)


cdef int _fill_tokens() except -1:
    for each in b"!#$%&'*+.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-":
        _is_token[each] = 1
    return 0


_fill_tokens()
