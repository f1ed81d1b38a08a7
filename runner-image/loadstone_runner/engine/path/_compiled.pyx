# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False, auto_pickle=False
"""The hot path of a request, in C: record, send, wait, parse, reply, iterate. Its twin without a compiler is `pure`.

What is rare stays in Python and is shared by both: opening connections, redirects, failures, unusual answers.
"""

cimport cython
from cpython.buffer cimport (
    PyBUF_C_CONTIGUOUS, PyBUF_FORMAT, PyBUF_WRITABLE, PyBuffer_Release, PyObject_CheckBuffer, PyObject_GetBuffer,
)
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_Size
from cpython.exc cimport PyErr_SetFromErrno, PyErr_SetString
from cpython.object cimport PyObject, PyTypeObject, Py_TYPE
from cpython.ref cimport Py_INCREF, Py_XDECREF, Py_XINCREF
from libc.errno cimport EAGAIN, errno
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memcmp, memcpy, memset, strerror
from posix.unistd cimport close
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

from bisect import bisect_right
from itertools import accumulate
from random import random

from gevent import GreenletExit, get_hub, sleep

from loadstone.flow import InterruptTaskSet, StopUser
from loadstone.reply import Reply
from loadstone_core.stats.histogram import LARGEST as _LARGEST, bucket_bounds
from loadstone_core.stats.metrics import Outcome, Phase
from loadstone_core.stats.stream import COUNTER_LAYOUT, LARGEST_SUM as _LARGEST_SUM
from loadstone_runner.engine import counters as _counters
from loadstone_runner.engine.instruments import label_pairs
from loadstone_runner.engine.http.patience import DeadlinePassed
from loadstone_runner.engine.tasks import obey

cdef object LARGEST = _LARGEST
cdef int64_t LARGEST_SUM = _LARGEST_SUM
cdef int STARTED = _counters.STARTED
cdef int COMPLETED = _counters.COMPLETED
cdef int UNSENT = _counters.UNSENT
cdef int AMBIGUOUS = _counters.AMBIGUOUS
cdef int ITERATIONS_STARTED = _counters.ITERATIONS_STARTED
cdef int ITERATIONS_COMPLETED = _counters.ITERATIONS_COMPLETED
cdef str _FAILED = Outcome.FAILED.value
cdef str _INTERRUPTED = Outcome.INTERRUPTED.value
cdef enum:
    _TEXT_MAX = 256
    _KEPT_MAX = 4096
    _OTHERS_MAX = 32
    _SECOND_NS = 1000000000
    _LOOK_AFTER_IDLE_NS = 1000000

include "recording.pxi"
include "ledger.pxi"
include "heads.pxi"
include "poll.pxi"
include "wire.pxi"
include "client.pxi"
include "turns.pxi"
include "laps.pxi"
