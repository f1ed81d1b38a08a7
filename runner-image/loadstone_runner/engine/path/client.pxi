# The client's fast path: a request that was sent before, over a connection that is open, with nothing unusual in it.

cdef extern from "Python.h":
    object PyType_GenericAlloc(PyTypeObject *type, Py_ssize_t items)

cdef object _status = Reply.__dict__["status"]
cdef object _head = Reply.__dict__["_head"]
cdef object _body = Reply.__dict__["body"]
cdef object _error = Reply.__dict__["error"]
cdef object _url = Reply.__dict__["url"]
cdef object _name = Reply.__dict__["name"]
cdef object _elapsed = Reply.__dict__["elapsed"]
cdef object _headers = Reply.__dict__["_headers"]
cdef object _decide = Reply.__dict__["_decide"]


cdef inline int _set(object field, object reply, object value) except -1:
    """Set a slot of a reply by its descriptor: no look-up of the name."""
    return Py_TYPE(field).tp_descr_set(field, reply, value)


cdef object _reply(Answer answer, str url, str name):
    """Return what `Reply(...)` does for an answer that has passed."""
    reply = PyType_GenericAlloc(<PyTypeObject *>Reply, 0)
    _set(_status, reply, answer.status)
    _set(_head, reply, answer.head)
    _set(_body, reply, answer.body)
    _set(_error, reply, None)
    _set(_url, reply, url)
    _set(_name, reply, name)
    _set(_elapsed, reply, (answer.end_ns - answer.begin_ns) / 1e9)
    _set(_headers, reply, None)
    _set(_decide, reply, None)
    return reply


@cython.final
cdef class Prepared:
    """A request that is ready to be sent again, as `requests.Written`, with what its answers need.

    It is shared by all users of a target, and so is what is remembered here: the newest head, and where the samples
    of the newest name go.
    """

    cdef readonly str method
    cdef readonly object place
    cdef readonly str name
    cdef readonly bytes data
    cdef readonly bint is_head
    cdef object _origin
    cdef str _url
    cdef Memo _memo
    cdef object _ledger
    cdef str _series
    cdef str _scenario
    cdef Place _samples

    def __init__(self, written):
        self.method = written.method
        self.place = written.place
        self.name = written.name
        self.data = written.data
        self.is_head = written.is_head
        self._origin = written.place.origin
        self._url = written.place.url
        self._memo = Memo.__new__(Memo)

    cdef int _aim(self, Ledger ledger, str series, str scenario) except -1:
        """Find where samples of a name go."""
        cdef tuple key = (self.method, series, scenario)
        self._samples = ledger.place_of(key)
        ledger.endpoint_of(self._samples, key)
        self._samples.of(_FIRST_BYTE, ledger, key)
        self._samples.of(_BODY, ledger, key)
        self._ledger = ledger
        self._series = series
        self._scenario = scenario
        return 0


cdef class Asker:
    """The fields of a client that the fast path needs, and its methods; the rest is `client.Client`.

    Attributes: see `Client`.
    """

    cdef public dict headers, _written_with, _written
    cdef public dict _idle
    cdef public list _open_replies
    cdef public Ledger _instruments
    cdef public str scenario
    cdef public object _passage  # None: nothing is kept for an iteration
    cdef public object _renamed
    cdef Prepared _newest   # what was asked last, and the table that it was found in
    cdef object _newest_path
    cdef dict _newest_of
    cdef public bint discard_bodies
    cdef public int64_t _timeout_ns, start_delay_ns, exchanges

    def get(self, path, *, name=None, **options):
        """Send GET."""
        if not options:
            reply = self._ask_plain("GET", path, name)
            if reply is not None:
                return reply
        return self._request("GET", path, name=name, **options)

    def request(self, method, path, *, name=None, **options):
        """Send a request and return its reply; see `Client.request`."""
        if not options:
            reply = self._ask_plain(method, path, name)
            if reply is not None:
                return reply
        return self._request(method, path, name=name, **options)

    cdef object _ask_plain(self, method, path, name):
        """Send a request that was sent before; None, and nothing done, if this is not the way for it."""
        cdef Prepared written
        cdef Wire wire
        cdef Answer answer
        cdef int64_t now_ns, deadline_ns, delay_ns
        if name is not None and type(name) is not str:
            return None
        if self._renamed is not None or self._instruments.on_request is not None:
            return None
        if (PyDict_Size(self.headers) or PyDict_Size(self._written_with)) and self.headers != self._written_with:
            return None
        written = self._newest
        if path is not self._newest_path or self._newest_of is not self._written or method is not written.method:
            found = self._written.get((method, path))
            if found is None:
                return None
            written = self._newest = <Prepared>found
            self._newest_path, self._newest_of = path, self._written
        idle = self._idle.get(written._origin)
        if not idle:
            return None
        wire = <Wire>(<list>idle).pop()
        now_ns = _now()
        if now_ns - wire.idle_since_ns > _LOOK_AFTER_IDLE_NS:
            if wire.is_stale():
                wire.close()
                return None
            now_ns = _now()
        deadline_ns = now_ns + self._timeout_ns
        self._instruments._count(STARTED)
        # Taken now: while this one waits, another greenlet of the user may ask as well.
        delay_ns, self.start_delay_ns = self.start_delay_ns, 0
        answer = wire.go(written.data, written.is_head, not self.discard_bodies, now_ns, deadline_ns, written._memo)
        if not wire.is_reusable or answer.failure is not None or answer.status >= 300:
            answer.delay_ns = delay_ns
            return self._take_over(answer, wire, written, name=name, deadline_ns=deadline_ns)
        (<list>idle).append(wire)
        series = name or written.name
        if (series is not written._series or self._instruments is not written._ledger
                or self.scenario is not written._scenario):
            written._aim(self._instruments, series, self.scenario)
        self.exchanges += 1
        reply = _reply(answer, written._url, series)
        self._instruments.end_passed(
            written._samples, delay_ns, answer.end_ns - answer.begin_ns,
            answer.first_byte_ns - answer.begin_ns, answer.end_ns - answer.first_byte_ns, answer.sent, answer.received,
        )
        return reply
