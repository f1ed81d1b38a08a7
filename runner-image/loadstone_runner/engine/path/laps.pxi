# The laps of a user: choose a task, call it, record the iteration, let the others have their turn.

cdef extern from "Python.h":
    PyObject *PyObject_CallOneArg(PyObject *function, PyObject *argument)  # NULL, and an exception, if it raised


@cython.final
cdef class Task:
    """One task, and what its iterations were last recorded in."""

    cdef str name
    cdef object function
    cdef Ledger ledger
    cdef str scenario
    cdef Lap lap


@cython.final
cdef class Tasks:
    """The tasks of a class of users that has no task sets, each chosen as often as its weight says."""

    cdef list _tasks
    cdef list _cumulative

    def __init__(self, tasks, weights):
        cdef Task made
        self._tasks = []
        for name, function in tasks:
            made = Task.__new__(Task)
            made.name, made.function = name, function
            self._tasks.append(made)
        self._cumulative = list(accumulate(weights))

    cdef Task next(self):
        """Return a task by its weight."""
        cdef Py_ssize_t last = len(self._tasks) - 1
        if last == 0:
            return <Task>self._tasks[0]
        return <Task>self._tasks[<Py_ssize_t>bisect_right(self._cumulative, random() * self._cumulative[last])]

    def choose(self):
        """Return name and function of a task."""
        cdef Task chosen = self.next()
        return chosen.name, chosen.function


cdef class Runner:
    """The fields of a seat that its laps need, and the laps; the rest is `native.Seat`.

    Attributes: see `native.Seat`.
    """

    cdef public bint has_quit, has_work, is_gone, is_listed, is_resting, is_retired, _is_killed, _has_wait
    cdef public int64_t count, work_number, work_due_ns
    cdef public object greenlet, _chooser, _turns
    cdef public Asker client
    cdef public Ledger _instruments
    cdef public Tasks _tasks  # None: only the chooser knows

    @property
    def instruments(self):
        """What the user's doings are recorded with."""
        return self._instruments

    def _live(self):
        """Live the life of a user; the depth of the C stack below here is what a switch of greenlets costs."""
        user = None
        try:
            user = self._enter()
            if user is not None:
                self._laps(user)
        except GreenletExit:
            pass  # the end of the run: what it cut off is recorded where it was cut off
        self.is_gone = True
        self._leave(user)

    def end_rest(self):
        """Run in the hub: let the user go on if it rests."""
        self.go_on()

    cdef int go_on(self) except -1:
        if self.is_resting:
            self.is_resting = False
            greenlet = self.greenlet
            if not _switch_to(<PyObject *>greenlet):
                ls_raise()
        return 0

    cdef int _laps(self, user) except -1:
        """Do one iteration after another until there is none any more, or the user has had enough."""
        cdef Asker client = self.client
        cdef Tasks tasks = self._tasks
        cdef Task chosen
        cdef PyObject *returned
        cdef int64_t exchanges, begin_ns, due_ns
        cdef bint is_free = self._turns.is_free
        cdef bint gives_way = self._turns.gives_way
        cdef Usher usher = self._turns if isinstance(self._turns, Usher) else None
        owner = user
        while True:
            if usher is not None:
                if not usher.take(self):
                    return 0
            elif is_free:
                if self.is_retired:
                    return 0
                self.work_number = self.count
            elif not self._turns.next_turn(self):
                return 0
            if tasks is not None:
                chosen = tasks.next()
            else:
                chosen = Task.__new__(Task)
                chosen.name, chosen.function, owner = self._chooser.next()
            exchanges = client.exchanges
            self._instruments._count(ITERATIONS_STARTED)
            begin_ns = _now()
            due_ns = self.work_due_ns or begin_ns
            if self._has_wait:
                user.iteration_start_ns = begin_ns
            user.iteration = self.work_number
            self.count += 1
            client.start_delay_ns = begin_ns - due_ns
            if usher is not None:
                usher.begun(begin_ns, due_ns)
            elif self.count == 1 or not is_free:
                self._turns.started(begin_ns, due_ns)
            returned = PyObject_CallOneArg(<PyObject *>chosen.function, <PyObject *>owner)
            if returned == NULL:
                self._raised(chosen, user, due_ns)
            else:
                Py_XDECREF(returned)
                if client._open_replies or client._passage is not None:
                    client.settle()
                self._end(chosen, due_ns, False, False)
            client.start_delay_ns = 0
            if user.is_stopping:
                self.has_quit = True
                return 0
            if self._has_wait and not self.is_retired and self._turns.has_pauses:
                self._pause(self._chooser)
            if client.exchanges == exchanges and not gives_way:
                # Nothing in it has waited for a socket, and the other users want to live, too.
                sleep(0)

    cdef int _raised(self, Task task, user, int64_t due_ns) except -1:
        """Obey what user code has raised, or count it; the end of the run is raised again."""
        cdef bint failed = False
        try:
            try:
                ls_raise()
            except (StopUser, InterruptTaskSet) as told:
                if not obey(told, user, self._chooser):
                    raise
        except BaseException as error:
            if self._is_killed and isinstance(error, GreenletExit):
                self.client.settle()
                self._end(task, due_ns, False, True)
                raise
            failed = True
            self._instruments.exception(error, task.name)
        self.client.settle()
        return self._end(task, due_ns, failed, False)

    cdef int _end(self, Task task, int64_t due_ns, bint failed, bint interrupted) except -1:
        """Record an iteration and count it as completed."""
        cdef Ledger ledger = self._instruments
        if task.ledger is not ledger or task.scenario is not self.client.scenario:
            task.lap = ledger.lap_of(task.name, self.client.scenario)
            task.ledger, task.scenario = ledger, self.client.scenario
        return ledger.end_lap(task.lap, _now() - due_ns, failed, interrupted)
