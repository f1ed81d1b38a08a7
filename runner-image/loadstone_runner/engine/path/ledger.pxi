# What is measured, in the order that `instruments` demands: counters that survive a kill, and where samples go.

cdef object _FIRST_BYTE = Phase.FIRST_BYTE
cdef object _BODY = Phase.BODY


@cython.final
cdef class Place:
    """Where the samples of one kind of request go. What none has had yet has no series."""

    cdef Endpoint endpoint
    cdef Trend first_byte
    cdef Trend body
    cdef list _others  # a phase, its cell, and so on: they are few, and known by who they are

    cdef Trend of(self, phase, Ledger ledger, tuple key):
        """Return where times of a phase go; the key is that of `Ledger.place_of`."""
        cdef Py_ssize_t at
        if phase is _FIRST_BYTE:
            if self.first_byte is None:
                self.first_byte = ledger.cell_of(phase, key)
            return self.first_byte
        if phase is _BODY:
            if self.body is None:
                self.body = ledger.cell_of(phase, key)
            return self.body
        if self._others is None:
            self._others = []
        for at in range(0, len(self._others), 2):
            if self._others[at] is phase:
                return <Trend>self._others[at + 1]
        cell = ledger.cell_of(phase, key)
        if len(self._others) < _OTHERS_MAX:
            self._others += (phase, cell)
        return cell


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
    cdef dict _places, _checks, _laps
    cdef object _newest_check
    cdef dict _newest_labels
    cdef Tally _newest_cell

    def __cinit__(self):
        self._places, self._checks, self._laps = {}, {}, {}

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

    cdef Place place_of(self, tuple key):
        """Return where the samples of a kind of request go: of a method, a name and a scenario."""
        held = self._places.get(key)
        if held is None:
            held = Place.__new__(Place)
            _keep(self._places, key, held)
        return <Place>held

    cdef Endpoint endpoint_of(self, Place place, tuple key):
        if place.endpoint is None:
            place.endpoint = self.recorder.endpoint(key[0], key[1][:_TEXT_MAX], scenario=key[2])
        return place.endpoint

    cdef Trend cell_of(self, phase, tuple key):
        return <Trend>self.recorder.cell_of_phase(phase, method=key[0], name=key[1][:_TEXT_MAX], scenario=key[2])

    cdef int end_passed(self, Place place, int64_t delay_ns, int64_t service_ns, int64_t first_byte_ns, int64_t body_ns,
                        int64_t sent, int64_t received) except -1:
        """Record a request that was begun and has passed, and count it as completed."""
        place.first_byte.add(first_byte_ns)
        place.body.add(body_ns)
        place.endpoint.add(service_ns + delay_ns, service_ns, sent, received)
        self._count(COMPLETED)
        return 0

    def end_request(self, *, str method, str name, int64_t latency_ns, int64_t service_ns, error, message, bint unsent,
                    bint ambiguous, bint interrupted, int64_t sent, int64_t received, str scenario=None, phases=()):
        """Record a request that was begun, and count it as completed; see `Instruments.end_request`."""
        cdef tuple key = (method, name, scenario or self.scenario)
        cdef Place place = self.place_of(key)
        for phase, took_ns in phases:
            place.of(phase, self, key).add(took_ns)
        self.endpoint_of(place, key).add(latency_ns, service_ns, sent, received)
        if error is not None:
            place.endpoint.fail(unsent, ambiguous, interrupted)
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

    def check(self, name, *, ok, labels):
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
