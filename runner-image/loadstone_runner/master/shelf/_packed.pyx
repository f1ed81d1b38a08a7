# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False, auto_pickle=False
"""The hot path of a master, in C: read the state of a series, tell what it adds to an older one, add that up.

Its twin without a compiler is `pure`. The bytes are those of `SeriesState` in statistics.proto; what is wrong with them
is said in the words of core.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc

from itertools import accumulate

from loadstone_core.stats.held import Growth
from loadstone_core.stats.histogram import LARGEST_INDEX as _LARGEST_INDEX
from loadstone_core.stats.metrics import Kind
from loadstone_core.stats.stream import BYTES as _BYTES, LARGEST_COUNT as _LARGEST_COUNT, LARGEST_SUM as _LARGEST_SUM, fault_of

cdef int64_t LARGEST_INDEX = _LARGEST_INDEX
cdef uint64_t LARGEST_COUNT = _LARGEST_COUNT
cdef uint64_t LARGEST_SUM = _LARGEST_SUM
cdef object BYTES = _BYTES
cdef object TREND = Kind.TREND

cdef enum:
    VARINT = 0
    FIXED64 = 1
    LENGTH = 2
    FIXED32 = 5
    PAGES = 64
    PER_PAGE = 64  # buckets of an octave


cdef struct Cursor:
    const uint8_t *at
    const uint8_t *end


cdef inline bint _varint(Cursor *cursor, uint64_t *value) noexcept nogil:
    """Read a number of at most ten bytes; return whether there was one."""
    cdef uint64_t made = 0
    cdef int shift = 0
    cdef uint8_t byte
    # Most numbers are of one byte.
    if cursor.at < cursor.end and cursor.at[0] < 0x80:
        value[0] = cursor.at[0]
        cursor.at += 1
        return True
    while cursor.at < cursor.end and shift < 64:
        byte = cursor.at[0]
        cursor.at += 1
        made |= <uint64_t>(byte & 0x7F) << shift
        if byte < 0x80:
            value[0] = made
            return True
        shift += 7
    return False


cdef inline int64_t _zigzag(uint64_t value) noexcept nogil:
    return <int64_t>(value >> 1) ^ -<int64_t>(value & 1)


cdef inline int32_t _zigzag32(uint64_t value) noexcept nogil:
    cdef uint32_t low = <uint32_t>value
    return <int32_t>(low >> 1) ^ -<int32_t>(low & 1)


cdef inline bint _is_packed(Cursor cursor) noexcept nogil:
    """Return whether there are whole numbers and nothing else."""
    cdef uint64_t number
    while cursor.at < cursor.end:
        if not _varint(&cursor, &number):
            return False
    return True


cdef inline bint _tag(Cursor *cursor, uint64_t *tag) noexcept nogil:
    """Read what precedes a field; return whether it is one that is left to no other reader to refuse."""
    cdef const uint8_t *begin = cursor.at
    return _varint(cursor, tag) and cursor.at - begin <= 5 and tag[0] <= <uint64_t>0xFFFFFFFF


cdef inline bint _part(Cursor *cursor, Cursor *part) noexcept nogil:
    """Read the bounds of what has a length; return whether they lie inside."""
    cdef uint64_t length
    if not _varint(cursor, &length) or length > <uint64_t>(cursor.end - cursor.at):
        return False
    part.at = cursor.at
    part.end = cursor.at + length
    cursor.at = part.end
    return True


cdef inline bint _skip(Cursor *cursor, int form) noexcept nogil:
    """Pass over a field that is not known here; return whether that could be done."""
    cdef uint64_t number
    cdef Cursor part
    cdef int size
    if form == VARINT:
        return _varint(cursor, &number)
    if form == LENGTH:
        return _part(cursor, &part)
    size = 8 if form == FIXED64 else 4
    if form not in (FIXED64, FIXED32) or cursor.end - cursor.at < size:
        return False
    cursor.at += size
    return True


@cython.final
cdef class PackedSeries:
    """The state of one series as it came, with the attributes of core's SeriesState; buckets stay encoded.

    Attributes:
        fault: what is wrong with it, one sentence; nothing if it may be merged.
    """

    cdef bytes _raw
    cdef Cursor _indexes, _counts  # into _raw
    cdef Py_ssize_t _buckets
    cdef uint64_t _count, _zeros
    cdef int64_t _total
    cdef readonly object key
    cdef readonly object kind
    cdef readonly int64_t minimum
    cdef readonly int64_t maximum
    cdef readonly tuple outcomes
    cdef readonly str fault

    @property
    def count(self):
        return self._count

    @property
    def zeros(self):
        return self._zeros

    @property
    def total(self):
        return self._total

    @property
    def indexes(self):
        """The indexes of the buckets, as a tuple."""
        return tuple(accumulate([_zigzag32(each) for each in _numbers(self._indexes)]))

    @property
    def counts(self):
        """The counts of the buckets, as a tuple."""
        return tuple(_numbers(self._counts))


cdef list _numbers(Cursor cursor):
    cdef uint64_t number
    found = []
    while cursor.at < cursor.end and _varint(&cursor, &number):
        found.append(number)
    return found


@cython.final
cdef class Reader:
    """Reads states of series; keys that came before are not decoded again.

    Args:
        kinds: by their number on the wire.
        decode_key: makes a key of its bytes, or raises what is wrong with it.
        canonical: writes a state anew, each field once and numbers packed; raises if it is none.
        refuse: makes the error to raise, of a sentence.
        most_keys: how many keys are remembered.
    """

    cdef dict _kinds, _keys
    cdef object _decode_key, _canonical, _refuse
    cdef Py_ssize_t _most_keys

    def __init__(self, kinds, *, decode_key, canonical, refuse, Py_ssize_t most_keys):
        self._kinds = dict(kinds)
        self._keys = {}
        self._decode_key = decode_key
        self._canonical = canonical
        self._refuse = refuse
        self._most_keys = most_keys

    def read(self, bytes raw not None, /):
        """Return the state that these bytes hold.

        Raises:
            the error of `refuse`: they hold none, or one of a kind that is not known here.
        """
        cdef PackedSeries made = self._parse(raw)
        if made is None:
            # Allowed, and never written by ours: fields twice or in parts, numbers one by one.
            made = self._parse(self._canonical(raw))
            if made is None:
                raise self._refuse("these bytes are no state of a series")
        return made

    cdef PackedSeries _parse(self, bytes raw):
        """Return None for what is not in the canonical form."""
        cdef PackedSeries made = PackedSeries.__new__(PackedSeries)
        cdef Cursor cursor, part
        cdef uint64_t tag, number
        cdef Cursor key
        cdef int kind = 0, seen = 0, field, form
        cdef list outcomes = []
        made._raw = raw
        cursor.at = <const uint8_t *>PyBytes_AS_STRING(raw)
        cursor.end = cursor.at + PyBytes_GET_SIZE(raw)
        key.at = key.end = cursor.at
        made._indexes = made._counts = key
        while cursor.at < cursor.end:
            if not _tag(&cursor, &tag):
                return None
            field, form = <int>min(tag >> 3, 1000), <int>(tag & 7)
            if not field:
                return None
            if 1 <= field <= 9:
                if seen & (1 << field) or form != (LENGTH if field in (1, 8, 9) else VARINT):
                    return None
                seen |= 1 << field
            if field in (1, 8, 9):
                if not _part(&cursor, &part):
                    return None
                if field == 1:
                    key = part
                elif field == 8:
                    made._indexes = part
                else:
                    made._counts = part
            elif 2 <= field <= 7:
                if not _varint(&cursor, &number):
                    return None
                if field == 2:
                    kind = <int>min(number, 1000)
                elif field == 3:
                    made._count = number
                elif field == 4:
                    made._total = _zigzag(number)
                elif field == 5:
                    made.minimum = _zigzag(number)
                elif field == 6:
                    made.maximum = _zigzag(number)
                else:
                    made._zeros = number
            elif field == 10:
                if form != LENGTH or not _part(&cursor, &part):
                    return None
                outcome = _outcome(part)
                if outcome is None:
                    return None
                outcomes.append(outcome)
            elif not _skip(&cursor, form):
                return None
        made.kind = self._kinds.get(kind)
        if made.kind is None:
            raise self._refuse(f"a series has the kind {kind}, which is not known here")
        made.outcomes = tuple(outcomes)
        made.key = self._key((<const char *>key.at)[:key.end - key.at])
        made.fault = ""
        if not _is_sound(made):
            if not (_is_packed(made._indexes) and _is_packed(made._counts)):
                return None
            made.fault = fault_of(made)
        return made

    cdef object _key(self, bytes encoded):
        found = self._keys.get(encoded)
        if found is None:
            found = self._decode_key(encoded)
            if len(self._keys) >= self._most_keys:
                self._keys.clear()
            self._keys[encoded] = found
        return found


cdef tuple _outcome(Cursor cursor):
    """Return name and count of an outcome, None for what is not in the canonical form."""
    cdef uint64_t tag, count = 0
    cdef Cursor name
    name.at = name.end = cursor.at
    while cursor.at < cursor.end:
        if not _tag(&cursor, &tag):
            return None
        if tag == (1 << 3 | LENGTH):
            if not _part(&cursor, &name):
                return None
        elif tag == (2 << 3 | VARINT):
            if not _varint(&cursor, &count):
                return None
        elif tag >> 3 <= 2 or not _skip(&cursor, <int>(tag & 7)):
            return None
    try:
        return PyUnicode_DecodeUTF8(<const char *>name.at, name.end - name.at, NULL), count
    except UnicodeDecodeError:
        return None


cdef bint _is_sound(PackedSeries series):
    """Return whether core would find nothing wrong with a state; count its buckets."""
    cdef Cursor indexes = series._indexes, counts = series._counts
    cdef uint64_t number, held = series._zeros
    cdef int64_t index = -1, at = 0
    if series._count > LARGEST_COUNT:
        return False
    for name, count in series.outcomes:
        if count > LARGEST_COUNT and (count > LARGEST_SUM or name not in BYTES):
            return False
    if series.kind is not TREND:
        return indexes.at == indexes.end and counts.at == counts.end and not series._zeros
    if series._zeros > LARGEST_COUNT:
        return False
    # There are at most as many buckets as there are indexes, so the sum stays within 64 bits.
    while counts.at < counts.end:
        if not _varint(&indexes, &number):
            return False
        at += _zigzag32(number)
        if at <= index or at > LARGEST_INDEX:
            return False
        index = at
        if not _varint(&counts, &number) or not 1 <= number <= LARGEST_COUNT:
            return False
        held += number
        series._buckets += 1
    return indexes.at == indexes.end and held == series._count


cdef struct Change:
    int64_t count
    int64_t index


@cython.final
cdef class Changes:
    """The buckets that have changed, and by how much; iterates as (index, count)."""

    cdef Change *_changes
    cdef Py_ssize_t _length

    def __dealloc__(self):
        free(self._changes)

    cdef inline void note(self, int64_t index, int64_t count) noexcept nogil:
        self._changes[self._length].index = index
        self._changes[self._length].count = count
        self._length += 1

    def __len__(self):
        return self._length

    def __iter__(self):
        cdef Py_ssize_t place
        for place in range(self._length):
            yield self._changes[place].index, self._changes[place].count


cdef class Held:
    """The newest known state of one series of one stream, as core's Held: of its buckets only what came is kept."""

    cdef public object sequence
    cdef public object target
    cdef PackedSeries _state
    cdef dict _outcomes

    def __init__(self, target):
        self.sequence = 0
        self.target = target
        self._outcomes = {}

    def replace(self, PackedSeries state not None, *, sequence):
        """Hold a newer state instead, and return what it adds.

        Raises:
            ValueError: something is wrong with the state; the older one is kept.
        """
        cdef PackedSeries old = self._state
        if state.fault:
            raise ValueError(state.fault)
        outcomes = self._outcomes
        changed = {}
        if old is None or state.outcomes != old.outcomes:
            outcomes = dict(state.outcomes)
            changed = {
                name: count - self._outcomes.get(name, 0)
                for name, count in outcomes.items() if count != self._outcomes.get(name, 0)
            }
        growth = Growth(
            <int64_t>state._count - (<int64_t>old._count if old is not None else 0),
            state.total - (old.total if old is not None else 0),
            <int64_t>state._zeros - (<int64_t>old._zeros if old is not None else 0),
            _changes(old, state),
            changed,
        )
        self.sequence = sequence
        self._state = state
        self._outcomes = outcomes
        return growth

    def state(self, key, /):
        """Return the state that is held, of the series with a key; there is one."""
        return self._state


cdef Changes _changes(PackedSeries old, PackedSeries new):
    """Return the buckets in which a newer state differs; both are sound."""
    cdef Changes found = Changes.__new__(Changes)
    cdef Cursor indexes = new._indexes, counts = new._counts, old_indexes, old_counts
    cdef int64_t index = 0, old_index = 0
    cdef uint64_t number, count, old_count = 0
    cdef bint is_old = False
    cdef Py_ssize_t most = new._buckets
    if old is not None:
        most += old._buckets
        old_indexes, old_counts = old._indexes, old._counts
    if not most:
        return found
    found._changes = <Change *>malloc(most * sizeof(Change))
    if found._changes == NULL:
        raise MemoryError
    if old is not None:
        is_old = _next(&old_indexes, &old_counts, &old_index, &old_count)
    while _next(&indexes, &counts, &index, &count):
        # A cumulative state drops no bucket; should one do so, the sum still follows it.
        while is_old and old_index < index:
            found.note(old_index, -<int64_t>old_count)
            is_old = _next(&old_indexes, &old_counts, &old_index, &old_count)
        if is_old and old_index == index:
            if count != old_count:
                found.note(index, <int64_t>(count - old_count))
            is_old = _next(&old_indexes, &old_counts, &old_index, &old_count)
        else:
            found.note(index, <int64_t>count)
    while is_old:
        found.note(old_index, -<int64_t>old_count)
        is_old = _next(&old_indexes, &old_counts, &old_index, &old_count)
    return found


cdef inline bint _next(Cursor *indexes, Cursor *counts, int64_t *index, uint64_t *count) noexcept nogil:
    """Go on to the next bucket of a sound state; return whether there is one."""
    cdef uint64_t number = 0
    if counts.at >= counts.end:
        return False
    _varint(indexes, &number)
    index[0] += _zigzag32(number)
    return _varint(counts, count)


@cython.final
cdef class Buckets:
    """Counts by the index of a bucket, 64 for each octave in use."""

    cdef int64_t *_pages[PAGES]
    cdef dict _shown

    def __dealloc__(self):
        cdef int page
        for page in range(PAGES):
            free(self._pages[page])

    def add(self, changes, /):
        """Add counts to buckets: pairs of an index that there is, and a count."""
        cdef Py_ssize_t place
        cdef Changes packed
        self._shown = None
        if isinstance(changes, Changes):
            packed = changes
            for place in range(packed._length):
                self._bucket(packed._changes[place].index)[0] += packed._changes[place].count
            return
        for index, count in changes:
            if not 0 <= index <= LARGEST_INDEX:
                raise ValueError(f"there is no bucket {index}")
            self._bucket(index)[0] += count

    def shown(self):
        """Return the counts as a dictionary, without zeros; it is not to be changed."""
        cdef int page, step
        if self._shown is None:
            self._shown = {}
            for page in range(PAGES):
                if self._pages[page] == NULL:
                    continue
                for step in range(PER_PAGE):
                    if self._pages[page][step]:
                        self._shown[page * PER_PAGE + step] = self._pages[page][step]
        return self._shown

    def clear(self):
        """Forget everything."""
        cdef int page
        self._shown = None
        for page in range(PAGES):
            free(self._pages[page])
            self._pages[page] = NULL

    cdef int64_t *_bucket(self, int64_t index) except NULL:
        cdef int64_t *page = self._pages[index // PER_PAGE]
        if page == NULL:
            page = <int64_t *>calloc(PER_PAGE, sizeof(int64_t))
            if page == NULL:
                raise MemoryError
            self._pages[index // PER_PAGE] = page
        return page + index % PER_PAGE
