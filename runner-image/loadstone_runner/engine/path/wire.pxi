# The exchange over one connection: send, wait in libev, receive into one shared buffer, read what is regular.

cdef extern from "sys/socket.h" nogil:
    ssize_t c_send "send"(int, const void *, size_t, int)
    ssize_t c_recv "recv"(int, void *, size_t, int)
    int MSG_NOSIGNAL

cdef extern from *:
    """
    #ifndef _GNU_SOURCE
    #define _GNU_SOURCE
    #endif
    #include <string.h>

    /* greenlet's C API is a capsule with a table of functions; the places are fixed by its greenlet.h. */
    static void **ls_greenlet;
    static int ls_import_greenlet(void) {
        ls_greenlet = (void **)PyCapsule_Import("greenlet._C_API", 0);
        return ls_greenlet ? 0 : -1;
    }
    static inline PyObject *ls_current(void) { return ((PyObject *(*)(void))ls_greenlet[4])(); }
    static inline PyObject *ls_switch(PyObject *to) {
        return ((PyObject *(*)(PyObject *, PyObject *, PyObject *))ls_greenlet[6])(to, NULL, NULL);
    }
    static int ls_watch(PyObject *watcher, PyObject *callback) {
        PyObject *started = PyObject_CallMethod(watcher, "start", "O", callback);
        Py_XDECREF(started);
        return started ? 0 : -1;
    }
    /* Let an exception that is set already be one for Cython. */
    static inline int ls_raise(void) { return -1; }
    static inline const char *ls_find(const char *in, size_t size, const char *what, size_t length) {
        return (const char *)memmem(in, size, what, length);
    }
    """
    int ls_import_greenlet() except -1
    PyObject *ls_current()
    PyObject *ls_switch(PyObject *)  # NULL, and an exception, if one was thrown into the caller
    int ls_raise() except -1
    int ls_watch(PyObject *, PyObject *)  # -1, and an exception, if it cannot
    const char *ls_find(const char *, size_t, const char *, size_t) nogil

cdef enum:
    _READ = 1  # libev's EV_READ
    _ENDED = 0     # of `_fill`: the connection has ended
    _RAISED = -1   # an exception is set
    _REFUSED = -2  # errno is set
    _LATE = -3     # the deadline has passed
    _BUFFER_BYTES = 65536

# One for all connections: what is read is taken out of it before another greenlet can run.
cdef char _buffer[_BUFFER_BYTES]


cdef int64_t _now() noexcept nogil:
    """Return what time.monotonic_ns does."""
    cdef timespec at
    clock_gettime(CLOCK_MONOTONIC, &at)
    return <int64_t>at.tv_sec * _SECOND_NS + at.tv_nsec


@cython.final
@cython.freelist(64)
cdef class Answer:
    """How one exchange went; the fields are those of `connection.Answer`."""

    cdef public int status
    cdef public bytes head
    cdef public bytes body
    cdef public int64_t begin_ns, delay_ns, first_byte_ns, end_ns, sent, received
    cdef public object failure, opening, raised

    def __cinit__(self):
        self.head = self.body = b""


cdef class Wire:
    """One open connection; carries one exchange at a time. The rare parts are those of `connection.Exchange`."""

    cdef public object _socket
    cdef public object _tls
    cdef public object _unsent
    cdef public bint is_reusable
    cdef public int64_t idle_since_ns
    cdef object _hub, _timer
    cdef Poller _poller
    cdef PyObject *_waiting  # the greenlet that waits; it keeps itself alive in `_switch_out`
    cdef int _fd
    cdef bint _is_watched   # the poller knows of it
    cdef bint _is_late      # the deadline has passed
    cdef int64_t _deadline_ns
    cdef int64_t _armed_ns  # when the timer fires; 0: it does not

    def __init__(self, sock, session):
        self._hub = get_hub()
        self._socket = sock
        self._tls = session
        self._fd = sock.fileno()
        self._poller = _poller_of(self._hub)
        self.is_reusable = True

    def exchange(self, bytes request, *, bint is_head, int64_t deadline_ns, bint keeps_body=True):
        """Send a request and return its whole answer, or what came of it. Never raises."""
        return self.go(request, is_head, keeps_body, _now(), deadline_ns, Memo.__new__(Memo))

    cdef Answer go(self, bytes request, bint is_head, bint keeps_body, int64_t now_ns, int64_t deadline_ns,
                   Memo memo):
        cdef Answer answer = Answer.__new__(Answer)
        cdef Py_ssize_t size = -1
        self.is_reusable = False
        answer.begin_ns = now_ns
        self._deadline_ns = deadline_ns
        if self._armed_ns == 0 or deadline_ns < self._armed_ns:
            self._arm(deadline_ns - answer.begin_ns)
        if self._tls is None:
            size = c_send(self._fd, PyBytes_AS_STRING(request), PyBytes_GET_SIZE(request), MSG_NOSIGNAL)
            if size == PyBytes_GET_SIZE(request):
                answer.sent = size
                size = self._fill()
                if size > 0:
                    answer.received = size
                    answer.first_byte_ns = _now()
                    if self._take(answer, _buffer, size, is_head, keeps_body, memo):
                        return answer
                    return self._go_on(answer, PyBytes_FromStringAndSize(_buffer, size), is_head, keeps_body)
                if size == _ENDED:
                    return self._go_on(answer, b"", is_head, keeps_body)
                return self._broken(answer, size)
        return self._go_slowly(answer, request, size, is_head, keeps_body, memo)

    cdef Answer _go_on(self, Answer answer, bytes held, bint is_head, bint keeps_body):
        """Read the rest of an answer that is not regular, or not all there."""
        try:
            self._receive(answer, held, is_head=is_head, keeps_body=keeps_body)
        except BaseException as error:
            self._fail(answer, error)
        return answer

    cdef Answer _broken(self, Answer answer, Py_ssize_t why):
        """Say why there is no answer."""
        try:
            self._raise(why)
        except BaseException as error:
            self._fail(answer, error)
        return answer

    cdef int _raise(self, Py_ssize_t why) except -1:
        if why == _RAISED:
            ls_raise()
        if why == _LATE:
            raise DeadlinePassed
        raise OSError(errno, strerror(errno).decode())

    cdef Answer _go_slowly(self, Answer answer, bytes request, Py_ssize_t sent, bint is_head, bint keeps_body,
                           Memo memo):
        """Do an exchange by TLS, or one of which `sent` bytes have left; -1: none has, or the kernel has refused them."""
        cdef Py_ssize_t size
        try:
            if sent < 0:
                self._send(request, answer)
            else:
                answer.sent = sent
                self._unsent = memoryview(request)[sent:]
            if self._unsent is not None:
                self._receive(answer, b"", is_head=is_head, keeps_body=keeps_body)
                return answer
            held = self._read(answer)
            if not self._take(answer, PyBytes_AS_STRING(held), PyBytes_GET_SIZE(held), is_head, keeps_body, memo):
                self._receive(answer, held, is_head=is_head, keeps_body=keeps_body)
        except BaseException as error:
            self._fail(answer, error)
        return answer

    cdef bint _take(self, Answer answer, const char *held, Py_ssize_t size, bint is_head, bint keeps_body, Memo memo) except -1:
        """Take an answer that is all there and regular; return whether it was one."""
        cdef Py_ssize_t end
        cdef const char *found
        if memo.whole is not None and size >= PyBytes_GET_SIZE(memo.whole) and not memcmp(
            held, PyBytes_AS_STRING(memo.whole), PyBytes_GET_SIZE(memo.whole)
        ):
            end = PyBytes_GET_SIZE(memo.whole)
        else:
            found = ls_find(held, size, b"\r\n\r\n", 4)
            if found == NULL:
                return False
            end = found - held + 4
            memo.whole = None
            if not _read_regular(held, end - 4, memo):
                return False
            memo.head = PyBytes_FromStringAndSize(held, end - 4)
            memo.whole = PyBytes_FromStringAndSize(held, end)
        if size - end != (0 if is_head else memo.length):
            return False
        if keeps_body:
            answer.body = PyBytes_FromStringAndSize(held + end, size - end)
        answer.head = memo.head
        answer.status = memo.status
        answer.end_ns = self.idle_since_ns = answer.first_byte_ns
        self.is_reusable = memo.keeps_alive
        return True

    cdef Py_ssize_t _fill(self) noexcept:
        """Wait for bytes and take them into the buffer; return how many, or why there are none."""
        cdef Py_ssize_t size
        while True:
            if not self._switch_out():
                return _RAISED
            if self._is_late:
                return _LATE
            size = c_recv(self._fd, _buffer, _BUFFER_BYTES, 0)
            if size >= 0:
                return size
            if errno != EAGAIN:
                return _REFUSED

    cdef bint _switch_out(self) noexcept:
        """Let others run until there is something to read, or something else; return False if an exception is set."""
        cdef PyObject *current = ls_current()
        cdef PyObject *switched
        if current == <PyObject *>self._hub or self._waiting != NULL or not self._is_watched:
            if not self._may_wait(current):
                Py_XDECREF(current)
                return False
        self._waiting = current
        switched = ls_switch(<PyObject *>self._hub)
        self._waiting = NULL
        Py_XDECREF(current)
        Py_XDECREF(switched)
        return switched != NULL

    cdef bint _may_wait(self, PyObject *current) noexcept:
        """Begin to watch the socket; return False, and set an exception, if the caller must not wait."""
        if current == <PyObject *>self._hub or self._waiting != NULL:
            PyErr_SetString(RuntimeError, b"a connection is for one greenlet at a time, and no callback of the loop")
            return False
        if self._poller.add(self._fd, <PyObject *>self) < 0:
            return False
        self._is_watched = True
        return True

    def _wait_readable(self):
        """Wait until there is something to read, or something else woke the greenlet: look, and wait again.

        Raises:
            DeadlinePassed: nothing came in time.
        """
        if not self._switch_out():
            ls_raise()
        if self._is_late:
            raise DeadlinePassed

    def _wait_for(self, int events):
        """Wait likewise for READ, WRITE or both; for what is rare, as each wait makes a watcher of its own."""
        watcher = self._hub.loop.io(self._fd, events)
        watcher.start(self._wake_up)
        try:
            self._wait_readable()
        finally:
            watcher.stop()
            watcher.close()

    cdef int ready(self) except -1:
        """Run in the hub when the socket is ready."""
        if self._waiting != NULL:
            self._wake()
        elif self._is_watched:
            # The peer has closed an idle connection, or sent what nobody asked for: whoever uses it next looks.
            self._is_watched = False
            self.idle_since_ns = 0
            self._poller.remove(self._fd)
        return 0

    def _wake_up(self):
        """Run in the hub when the socket is ready in another way."""
        if self._waiting != NULL:
            self._wake()

    cdef int _wake(self) except -1:
        """Switch to the greenlet that waits; called in the hub."""
        cdef PyObject *waiting = self._waiting
        cdef PyObject *switched
        Py_INCREF(<object>waiting)
        switched = ls_switch(waiting)
        Py_XDECREF(waiting)
        if switched == NULL:
            ls_raise()
        Py_XDECREF(switched)
        return 0

    def close(self):
        """Close the connection; again is harmless."""
        if self._fd < 0:
            return
        if self._is_watched:
            self._is_watched = False
            self._poller.remove(self._fd)
        self._fd = -1
        if self._timer is not None:
            self._timer.close()
            self._timer = None
        self._socket.close()

    cdef int _arm(self, int64_t wait_ns) except -1:
        """Let the timer fire after so long: one stays armed over many requests and looks at the deadline of the moment."""
        if self._timer is not None:
            self._timer.close()
        self._is_late = False
        self._armed_ns = self._deadline_ns
        self._timer = self._hub.loop.timer(max(wait_ns, 0) / 1e9)
        self._timer.start(self._look, update=True)
        return 0

    def _look(self):
        """Run in the hub when the timer fires."""
        cdef int64_t left_ns = self._deadline_ns - _now()
        self._armed_ns = 0
        if left_ns > 0:
            self._arm(left_ns)
        elif self._waiting != NULL:
            self._is_late = True
            self._wake()


ls_import_greenlet()
