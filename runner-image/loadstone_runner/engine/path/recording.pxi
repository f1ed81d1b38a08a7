# Samples: exact histograms in dense pages of C integers, tallies, and the counters that survive a kill.

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
        self._counts[0] += sent
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


@cython.final
cdef class Lap:
    """What one kind of iteration is recorded in."""

    cdef Trend duration
    cdef Tally iterations
    cdef object task


cdef class Ledger:
    """The hot part of `Instruments`: counters and samples of what passes, in the order that its module demands.

    Attributes:
        recorder: of the samples.
        slots: of the counters, a buffer of unsigned 64-bit integers or anything that is indexed like one.
        on_request: hears of each recorded request; while there is one, none goes the fast path.
    """

    cdef public object recorder, on_request
    cdef object _slots
    cdef volatile uint64_t *_raw
    cdef dict _endpoints, _checks, _laps
    cdef str _newest_check
    cdef dict _newest_labels
    cdef Tally _newest_cell

    def __cinit__(self):
        self._endpoints, self._checks, self._laps = {}, {}, {}

    @property
    def slots(self):
        return self._slots

    @slots.setter
    def slots(self, slots):
        cdef Py_buffer view
        self._raw = NULL
        self._slots = slots
        if not PyObject_CheckBuffer(slots):
            return
        PyObject_GetBuffer(slots, &view, PyBUF_WRITABLE | PyBUF_FORMAT | PyBUF_C_CONTIGUOUS)
        # The memory lives as long as `_slots`; an export of its own would be in the way when both are garbage.
        if view.itemsize == sizeof(uint64_t) and view.len >= view.itemsize * <Py_ssize_t>len(COUNTER_LAYOUT):
            self._raw = <volatile uint64_t *>view.buf
        PyBuffer_Release(&view)

    cdef inline int _count(self, int slot) except -1:
        """Count one; each count is one aligned store, seen by whoever has the file mapped."""
        if self._raw != NULL:
            self._raw[slot] += 1
        else:
            self._slots[slot] = self._slots[slot] + 1
        return 0

    cpdef begin_request(self):
        """Count a request as started; to be called before anything of it can leave."""
        self._count(STARTED)

    cdef int end_passed(self, Endpoint endpoint, Trend first_byte, int64_t delay_ns, int64_t service_ns,
                        int64_t first_byte_ns, int64_t sent, int64_t received) except -1:
        """Record a request that was begun and has passed, and count it as completed."""
        first_byte.add(first_byte_ns)
        endpoint.add(service_ns + delay_ns, service_ns, sent, received)
        self._count(COMPLETED)
        return 0

    def end_request(self, *, str method, str name, int64_t latency_ns, int64_t service_ns, error, message, bint unsent,
                    bint ambiguous, bint interrupted, int64_t sent, int64_t received, str scenario=None):
        """Record a request that was begun, and count it as completed; see `Instruments.end_request`."""
        cdef Endpoint endpoint
        scenario = scenario or self.scenario
        found = self._endpoints.get((method, name, scenario))
        if found is None:
            found = self.recorder.endpoint(method, name[:_TEXT_MAX], scenario=scenario)
            _keep(self._endpoints, (method, name, scenario), found)
        endpoint = <Endpoint>found
        endpoint.add(latency_ns, service_ns, sent, received)
        if error is not None:
            endpoint.fail(unsent, ambiguous, interrupted)
            self.recorder.error(error[:_TEXT_MAX], message, name[:_TEXT_MAX])
            if unsent:
                self._count(UNSENT)
            elif ambiguous:
                self._count(AMBIGUOUS)
        self._count(COMPLETED)

    cpdef begin_iteration(self):
        """Count an iteration as started."""
        self._count(ITERATIONS_STARTED)

    def end_iteration(self, str name, int64_t duration_ns, *, bint failed, bint interrupted, str scenario=None):
        """Record an iteration that was begun, and count it as completed, however it ended."""
        self.end_lap(self.lap_of(name, scenario or self.scenario), duration_ns, failed, interrupted)

    cdef Lap lap_of(self, str name, str scenario):
        """Return what a kind of iteration is recorded in."""
        lap = self._laps.get((name, scenario))
        if lap is None:
            lap = self._lap(name, scenario)
        return <Lap>lap

    cdef int end_lap(self, Lap lap, int64_t duration_ns, bint failed, bint interrupted) except -1:
        lap.duration.add(duration_ns)
        lap.iterations.count += 1
        lap.iterations.total += 1
        if failed:
            lap.task.count(_FAILED)
        if interrupted:
            lap.task.count(_INTERRUPTED)
        self._count(ITERATIONS_COMPLETED)
        return 0

    cdef Lap _lap(self, str name, str scenario):
        cdef Lap made = Lap.__new__(Lap)
        made.task = self.recorder.task(name, scenario)
        made.duration = made.task.duration.cell
        made.iterations = made.task.iterations.cell
        _keep(self._laps, (name, scenario), made)
        return made

    def check(self, str name, *, ok, labels):
        """Record a check."""
        cdef object key = name
        if labels:
            # All values of the newest labels are text, so what equals them is the same check.
            if name is self._newest_check and labels == self._newest_labels:
                self._newest_cell.count += 1
                self._newest_cell.total += bool(ok)
                return
            for value in labels.values():
                # 1 and True are one key, and two labels.
                if type(value) is not str:
                    self._check_labelled(name, ok=ok, labels=labels)
                    return
            key = (name, tuple(labels.items()))
        cell = self._checks.get(key)
        if cell is None:
            cell = self.recorder.cell_of_check(name[:_TEXT_MAX], label_pairs(labels) if labels else (), scenario=self.scenario)
            _keep(self._checks, key, cell)
        if labels:
            self._newest_check, self._newest_labels, self._newest_cell = name, dict(labels), <Tally>cell
        (<Tally>cell).count += 1
        (<Tally>cell).total += bool(ok)


cdef int _keep(dict held, key, value) except -1:
    """Remember what is looked up often; scripts may make up any number of names."""
    if len(held) >= _KEPT_MAX:
        held.clear()
    held[key] = value
    return 0


_fill_tables()
