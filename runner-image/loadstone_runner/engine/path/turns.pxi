# Iterations that are due and users that are free: who gets which, how they are woken, how late they begin.


cdef class Usher:
    """Give iterations that are due to users that are free; its twin is `turns.Usher`."""

    cdef list _free, _given
    cdef readonly int64_t unbegun
    cdef readonly int64_t first_late_ns
    cdef Trend _slips, _recent_slips
    cdef object _hub

    def __init__(self, slips):
        self._free, self._given = [], []
        self.first_late_ns = -1
        self._slips, self._recent_slips = slips, Trend()
        self._hub = get_hub()

    def admit(self, Runner seat):
        """Count a user as free that has not come so far yet."""
        seat.is_listed = True
        self._free.append(seat)

    def hand(self, int64_t number, int64_t due_ns):
        """Give an iteration to the user that became free last; False: nobody is free."""
        cdef Runner seat
        while self._free:
            seat = <Runner>self._free.pop()
            seat.is_listed = False
            if not seat.is_gone:
                self._give(seat, number, due_ns)
                return True
        return False

    def give(self, Runner seat, int64_t number, int64_t due_ns):
        """Give an iteration to a user that has none."""
        self._give(seat, number, due_ns)

    cdef int _give(self, Runner seat, int64_t number, int64_t due_ns) except -1:
        seat.work_number, seat.work_due_ns = number, due_ns
        seat.has_work = True
        self.unbegun += 1
        if seat.is_resting:
            if not self._given:
                self._hub.loop.run_callback(self._wake)
            self._given.append(seat)
        return 0

    def _wake(self):
        """Run in the hub: one callback for all that were given something since the last one."""
        cdef Runner seat
        cdef list given = self._given
        self._given = []
        for each in given:
            seat = <Runner>each
            seat.go_on()

    def abandoned(self):
        """Hear that a user has ended with an iteration that it has not begun."""
        self.unbegun -= 1

    def take_slips(self):
        """Return by how many nanoseconds the iterations since the last call began late."""
        cdef Trend taken = self._recent_slips
        self._recent_slips = Trend()
        return taken

    cdef int take(self, Runner seat) except -1:
        """Wait until a user is given an iteration; return 0 if it is to do none any more."""
        if not seat.has_work:
            if not seat.is_listed:
                seat.is_listed = True
                self._free.append(seat)
            while not seat.has_work:
                if seat.is_retired:
                    return 0
                seat.is_resting = True
                if not _switch_to(<PyObject *>self._hub):
                    seat.is_resting = False
                    return -1
        if seat.is_retired:
            return 0
        seat.has_work = False
        self.unbegun -= 1
        return 1

    cdef int begun(self, int64_t begin_ns, int64_t due_ns) except -1:
        """Record how late an iteration began."""
        cdef int64_t slip_ns = max(begin_ns - due_ns, 0)
        if self.first_late_ns < 0:
            self.first_late_ns = slip_ns
        self._slips.add(slip_ns)
        self._recent_slips.add(slip_ns)
        return 0


cdef bint _switch_to(PyObject *greenlet) noexcept:
    """Let another greenlet run; return False if an exception was thrown into the caller meanwhile."""
    cdef PyObject *switched = ls_switch(greenlet)
    Py_XDECREF(switched)
    return switched != NULL
