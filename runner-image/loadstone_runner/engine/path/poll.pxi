# Waiting for many sockets at once: an epoll of our own below gevent's loop, which watches it like any other file.

cdef extern from "sys/epoll.h" nogil:
    ctypedef union epoll_data_t:
        int fd
    cdef struct epoll_event:
        uint32_t events
        epoll_data_t data
    int epoll_create1(int)
    int epoll_ctl(int, int, int, epoll_event *)
    int epoll_wait(int, epoll_event *, int, int)
    int EPOLL_CLOEXEC, EPOLL_CTL_ADD, EPOLL_CTL_DEL
    uint32_t EPOLLIN

cdef enum:
    _BATCH = 64  # then gevent's own callbacks and timers have their turn


@cython.final
cdef class Poller:
    """The sockets that the connections of one hub wait for. An event costs one call here, where libev takes a dozen."""

    cdef int _fd
    cdef object _watcher
    cdef PyObject **_wires  # by file descriptor; they live as long as they are here
    cdef int _size
    cdef epoll_event _ready[_BATCH]  # here, as greenlets copy what of the hub's stack is in their way
    cdef int _count

    def __cinit__(self):
        self._fd = -1

    def __init__(self, hub):
        self._fd = epoll_create1(EPOLL_CLOEXEC)
        if self._fd < 0:
            raise OSError(errno, strerror(errno).decode())
        self._watcher = hub.loop.io(self._fd, _READ)

    def __dealloc__(self):
        free(self._wires)
        if self._fd >= 0:
            close(self._fd)

    cdef int add(self, int fd, PyObject *wire) noexcept:
        """Wake a connection whenever its socket can be read, until it is removed; -1, and an exception, if it cannot."""
        cdef epoll_event wanted
        cdef PyObject **grown
        if fd >= self._size:
            grown = <PyObject **>realloc(self._wires, (fd + 256) * sizeof(PyObject *))
            if grown == NULL:
                PyErr_SetFromErrno(OSError)
                return -1
            memset(grown + self._size, 0, (fd + 256 - self._size) * sizeof(PyObject *))
            self._wires = grown
            self._size = fd + 256
        # An active watcher keeps the loop from ending, so it is active only while there is something to wait for.
        if self._count == 0 and ls_watch(<PyObject *>self._watcher, <PyObject *>self) < 0:
            return -1
        wanted.events = EPOLLIN
        wanted.data.fd = fd
        if epoll_ctl(self._fd, EPOLL_CTL_ADD, fd, &wanted) < 0:
            PyErr_SetFromErrno(OSError)
            return -1
        Py_XINCREF(wire)
        self._wires[fd] = wire
        self._count += 1
        return 0

    cdef int remove(self, int fd) except -1:
        """Wake it no more."""
        cdef epoll_event unused
        cdef PyObject *wire = self._wires[fd]
        epoll_ctl(self._fd, EPOLL_CTL_DEL, fd, &unused)
        self._wires[fd] = NULL
        Py_XDECREF(wire)
        self._count -= 1
        if self._count == 0:
            self._watcher.stop()
        return 0

    def __call__(self):
        """Run in the hub when some sockets can be read."""
        cdef Wire wire
        cdef int place
        cdef int count = epoll_wait(self._fd, self._ready, _BATCH, 0)
        for place in range(count):
            # It may have gone since, or another have come in its place: that one looks, and waits on.
            if self._wires[self._ready[place].data.fd] != NULL:
                wire = <Wire>self._wires[self._ready[place].data.fd]
                wire.ready()


cdef Poller _poller_of(hub):
    """Return the poller of a hub; each has one."""
    held = getattr(hub, "_loadstone_poller", None)
    if held is None:
        held = hub._loadstone_poller = Poller(hub)
    return <Poller>held
