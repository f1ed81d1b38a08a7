# Samples: exact histograms in dense pages of C integers, and tallies.

cdef extern from *:
    """
    static inline int ls_leading_zeros(unsigned long long value) { return __builtin_clzll(value); }
    static inline int ls_add_overflows(int64_t a, int64_t b, int64_t *sum) {
        long long made;
        int overflows = __builtin_saddll_overflow(a, b, &made);
        *sum = made;
        return overflows;
    }
    """
    int ls_leading_zeros(unsigned long long value) nogil
    bint ls_add_overflows(int64_t a, int64_t b, int64_t *sum) nogil

cdef enum:
    PAGES = 64
    PER_PAGE = 64  # buckets of an octave
    GUESSES = 128

cdef uint64_t _bound[PER_PAGE + 1]  # the largest mantissa of each bucket of an octave, with its top bit at 2^63
cdef int _guess[GUESSES]            # the bucket of the smallest mantissa with these seven bits behind the top one


cdef int _fill_tables() except -1:
    """Take the bounds of the octave below 2^63 from core, which knows them exactly; one bit more is a shift."""
    cdef int step, cell
    cdef uint64_t least
    for step in range(PER_PAGE):
        _bound[step] = 2 * <uint64_t>bucket_bounds(62 * PER_PAGE + step)[1] + 1
    _bound[0] = <uint64_t>1 << 63
    _bound[PER_PAGE] = ~<uint64_t>0
    for cell in range(GUESSES):
        least = (<uint64_t>1 << 63) + (<uint64_t>cell << 56)
        step = 0
        while least > _bound[step]:
            step += 1
        _guess[cell] = step
    return 0


cdef inline int _index(uint64_t value) noexcept nogil:
    """Return core's bucket_index of 1 to 2^63."""
    cdef int octave = 63 - ls_leading_zeros(value)
    cdef uint64_t mantissa = value << (63 - octave)
    cdef int step = _guess[(mantissa >> 56) & (GUESSES - 1)]
    # The last bound is the largest integer, so this ends.
    while mantissa > _bound[step]:
        step += 1
    return octave * PER_PAGE + step


@cython.final
cdef class Trend:
    """Count whole-number samples from -2^63 to 2^63 as core's Histogram does, 64 counters for each octave in use."""

    cdef int64_t *_pages[PAGES]
    cdef int64_t _low, _high, _sum
    cdef object _spilled       # of the sum, what did not fit
    cdef readonly int64_t count
    cdef readonly int64_t zeros
    cdef int64_t _largest      # samples of 2^63, which no C integer with a sign holds

    def __cinit__(self):
        self._spilled = 0

    def __dealloc__(self):
        cdef int page
        for page in range(PAGES):
            free(self._pages[page])

    cdef int add(self, int64_t value) except -1:
        cdef int64_t *bucket
        cdef int64_t total
        if value > 0:
            bucket = self._bucket(_index(<uint64_t>value))
            bucket[0] += 1
        else:
            self.zeros += 1
        if self.count == self._largest:
            self._low = self._high = value
        elif value < self._low:
            self._low = value
        elif value > self._high:
            self._high = value
        self.count += 1
        if ls_add_overflows(self._sum, value, &total):
            self._spilled += self._sum
            total = value
        self._sum = total
        return 0

    def clear(self):
        """Forget everything."""
        cdef int page
        for page in range(PAGES):
            free(self._pages[page])
            self._pages[page] = NULL
        self.count = self.zeros = self._largest = self._low = self._high = self._sum = 0
        self._spilled = 0

    cdef int64_t *_bucket(self, int index) except NULL:
        """Return the counter of a bucket from 0 to 63 * 64."""
        cdef int64_t *page = self._pages[index // PER_PAGE]
        if page == NULL:
            page = <int64_t *>calloc(PER_PAGE, sizeof(int64_t))
            if page == NULL:
                raise MemoryError
            self._pages[index // PER_PAGE] = page
        return page + index % PER_PAGE

    def record(self, value, /):
        """Count one sample.

        Raises:
            ValueError: it is above 2^63, or below -2^63.
        """
        if -LARGEST <= value < LARGEST:
            self.add(value)
        elif value == LARGEST:
            self._bucket(_index(<uint64_t>1 << 63))[0] += 1
            self._largest += 1
            self.count += 1
            self._spilled += value
        else:
            raise ValueError(f"a histogram holds values up to 2^63, not {value}")

    @property
    def total(self):
        return self._spilled + self._sum

    @property
    def minimum(self):
        if self.count == self._largest:
            return LARGEST if self.count else 0
        return self._low

    @property
    def maximum(self):
        if self._largest:
            return LARGEST
        return self._high if self.count else 0

    def pack(self):
        """Return bucket indexes, ascending, and their counts, in two lists of one length."""
        cdef int page, step
        indexes = []
        counts = []
        for page in range(PAGES):
            if self._pages[page] == NULL:
                continue
            for step in range(PER_PAGE):
                if self._pages[page][step]:
                    indexes.append(page * PER_PAGE + step)
                    counts.append(self._pages[page][step])
        return indexes, counts

    def copy(self):
        """Return an equal one that does not change with this one."""
        cdef Trend twin = Trend()
        cdef int page
        for page in range(PAGES):
            if self._pages[page] != NULL:
                memcpy(twin._bucket(page * PER_PAGE), self._pages[page], PER_PAGE * sizeof(int64_t))
        twin._low, twin._high, twin._sum, twin._spilled = self._low, self._high, self._sum, self._spilled
        twin.count, twin.zeros, twin._largest = self.count, self.zeros, self._largest
        return twin


@cython.final
cdef class Tally:
    """Count samples and their sum, as core's Tally does; the sum is kept within 64 bits by the recorder."""

    cdef public int64_t count
    cdef public int64_t total

    def record(self, int64_t amount, /):
        """Count one sample."""
        self.count += 1
        self.total += amount

    def clear(self):
        """Forget everything."""
        self.count = self.total = 0


@cython.final
cdef class Endpoint:
    """Join latency, service time and outcomes of one kind of request, as core's Endpoint does.

    It is the `outcomes` of its latency series, too.
    """

    cdef readonly Trend latency
    cdef readonly Trend service
    cdef readonly bint shared
    cdef object _service_series
    cdef int64_t _counts[6]  # as _OUTCOMES names them

    def __init__(self, latency, service):
        # An overflow series takes samples of many endpoints: what is true of one of them is not true of all.
        self.shared = not latency.key.is_overflow and not service.key.is_overflow
        if self.shared:
            service.cell = latency.cell
        self.latency = latency.cell
        self.service = service.cell
        self._service_series = service
        for place, name in enumerate(_OUTCOMES):
            self._counts[place] = latency.outcomes.get(name, 0)
        latency.outcomes = self

    cdef int add(self, int64_t latency_ns, int64_t service_ns, int64_t sent, int64_t received) except -1:
        """Record a request that has passed."""
        if service_ns != latency_ns and self.shared:
            self.shared = False
            self.service = self._service_series.cell = self.latency.copy()
        self.latency.add(latency_ns)
        if not self.shared:
            self.service.add(service_ns)
        # Nobody takes more than that, so it need not be exact, and an integer of C does not begin again.
        if self._counts[0] < LARGEST_SUM:
            self._counts[0] += sent
        if self._counts[1] < LARGEST_SUM:
            self._counts[1] += received
        return 0

    def record(self, int64_t latency_ns, int64_t service_ns, *, bint failed, bint unsent, bint ambiguous,
               bint interrupted, int64_t sent, int64_t received):
        """Record one request; the arguments are those of `Recorder.request`."""
        self.add(latency_ns, service_ns, sent, received)
        self._counts[2] += failed
        self._counts[3] += unsent
        self._counts[4] += ambiguous
        self._counts[5] += interrupted

    def __iter__(self):
        return iter(_OUTCOMES)

    def __setitem__(self, str name, int64_t count):
        self._counts[_OUTCOMES.index(name)] = count

    cdef void fail(self, bint unsent, bint ambiguous, bint interrupted) noexcept:
        """Count a request as failed."""
        self._counts[2] += 1
        self._counts[3] += unsent
        self._counts[4] += ambiguous
        self._counts[5] += interrupted

    def items(self):
        """Return the outcomes by name."""
        return [(name, self._counts[place]) for place, name in enumerate(_OUTCOMES)]


_OUTCOMES = tuple(each.value for each in (
    Outcome.BYTES_SENT, Outcome.BYTES_RECEIVED, Outcome.FAILED, Outcome.UNSENT, Outcome.AMBIGUOUS, Outcome.INTERRUPTED,
))


_fill_tables()
