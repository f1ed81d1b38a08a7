import contextlib
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.component.processes import is_alive, processor_seconds
from tests.lacking import lacks

# The launcher under test is a real process; only what it starts is a small program instead of an engine.
LAUNCHER = """
import os, sys
if group := os.environ.get("ENGINE_CGROUP"):
    open(group + "/cgroup.procs", "w").write(str(os.getpid()))
from loadstone_runner.launcher import service
from loadstone_runner.launcher.service import supervise
service.ORDER_AWAITED_NS = int(os.environ.get("ORDER_AWAITED_NS", service.ORDER_AWAITED_NS))
from loadstone_runner.settings import read_launcher
def program(environment):
    exec(environment["ENGINE_CODE"], {})
    return 0
sys.exit(supervise(read_launcher(os.environ), program))
"""
SLEEPER = "import time; print('up', flush=True); time.sleep(60)"
# One match of this pattern holds the GIL for minutes; no thread, signal handler or greenlet runs meanwhile.
# As an engine's, the handler leaves what is to be done to a loop, which does not come round.
GIL_HOLDER = (
    "import re, signal; signal.signal(signal.SIGTERM, lambda *_: None); print('up', flush=True); "
    "re.match(r'(a+)+$', 'a' * 40 + 'b')"
)
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
PATIENCE = 15.0


class Agent:
    """The agent's end of launcher.sock, scripted by the test."""

    def __init__(self, folder: Path) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / "launcher.sock"))
        self._listener.listen()
        self._listener.settimeout(PATIENCE)
        self._connection: socket.socket | None = None
        self._held = b""

    def accept(self) -> None:
        self._connection, _ = self._listener.accept()
        self._connection.settimeout(PATIENCE)
        self._held = b""

    def order(self, **order: object) -> None:
        assert self._connection is not None
        self._connection.sendall(json.dumps(order).encode() + b"\n")

    def event(self) -> dict:
        assert self._connection is not None
        while b"\n" not in self._held:
            received = self._connection.recv(65536)
            assert received, "the launcher closed the connection"
            self._held += received
        line, _, self._held = self._held.partition(b"\n")
        return json.loads(line)

    def wait_for(self, kind: str) -> dict:
        while (event := self.event())["event"] != kind:
            pass
        return event

    def hang_up(self) -> None:
        assert self._connection is not None
        self._connection.close()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._listener.close()


class Launcher:
    """A launcher process and what it prints."""

    def __init__(self, folder: Path, code: str, *, engines: int = 1, cgroup: str = "", **variables: str) -> None:
        environment = {
            **os.environ,
            "LOADSTONE_SOCKET_DIR": str(folder),
            "LOADSTONE_ENGINES": str(engines),
            "ENGINE_CODE": code,
            "ENGINE_CGROUP": cgroup,
            **variables,
        }
        self.process = subprocess.Popen(
            [sys.executable, "-c", LAUNCHER], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def read_line(self) -> bytes:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def wait(self) -> int:
        return self.process.wait(PATIENCE)

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def agent(tmp_path):
    with contextlib.closing(Agent(tmp_path)) as agent:
        yield agent


@pytest.fixture
def launch(tmp_path):
    with contextlib.ExitStack() as stack:
        yield lambda code, **options: stack.enter_context(contextlib.closing(Launcher(tmp_path, code, **options)))


def test_launcher_tells_of_each_engine_and_how_it_ended_and_exits_as_ordered(agent, launch):
    launcher = launch(
        "import os, sys; print('engine', os.environ['LOADSTONE_ENGINE'], 'start', os.environ['LOADSTONE_START'],"
        " flush=True); sys.exit(3)",
        engines=2,
    )
    agent.accept()

    hello = agent.event()
    ends = {}
    starts = []
    while len(ends) < 2:
        event = agent.event()
        if event["event"] == "exited":
            ends[event["engine"]] = event
        elif event["event"] == "started":
            starts.append((event["engine"], event["start"]))
    agent.order(do="exit", code=42)

    assert (hello["event"], hello["engines"], hello["role"]) == ("hello", 2, "engine")
    assert hello["pid"] == launcher.process.pid
    assert starts == [(0, 1), (1, 1)]
    for engine in (0, 1):
        assert ends[engine] == {
            "event": "exited",
            "engine": engine,
            "start": 1,
            "code": 3,
            "signal": None,
            "tail": f"engine {engine} start 1",
            "oom": False,
        }
    assert launcher.wait() == 42
    assert sorted(launcher.process.stdout.read().splitlines()) == [b"engine 0 start 1", b"engine 1 start 1"]


def test_a_launcher_whose_engines_have_ended_does_not_wait_for_an_order_for_ever(agent, launch):
    launcher = launch("", ORDER_AWAITED_NS="100000000")
    agent.accept()

    assert launcher.wait() == 1
    assert b"did not say in time" in launcher.process.stderr.read()


def test_the_container_of_a_director_stays_as_long_as_its_master_does(agent, launch):
    launcher = launch("", ORDER_AWAITED_NS="100000000", LOADSTONE_ENGINE_ROLE="director")
    agent.accept()
    agent.wait_for("exited")
    with pytest.raises(subprocess.TimeoutExpired):
        launcher.process.wait(1.5)
    agent.order(do="exit", code=0)

    assert launcher.wait() == 0


@pytest.mark.parametrize(
    ("code", "last", "least"),
    [
        ("try: time.sleep(60)\nfinally: print('last words', flush=True)", b"last words\n", 0.0),
        ("time.sleep(60)", b"", 1.0),
    ],
    ids=["willing", "stubborn"],
)
def test_an_order_to_leave_in_time_lets_who_is_willing_say_its_last_words(agent, launch, code, last, least):
    heed = "lambda *_: sys.exit(0)" if last else "signal.SIG_IGN"
    head = f"import signal, sys, time\nsignal.signal(signal.SIGTERM, {heed})\nprint('up', flush=True)\n"
    launcher = launch(head + code)
    agent.accept()
    assert launcher.read_line() == b"up\n"

    ordered = time.monotonic()
    agent.order(do="exit", code=5, seconds=1.0 if not last else 30.0)

    assert launcher.wait() == 5
    assert least <= time.monotonic() - ordered < 25.0
    assert launcher.process.stdout.read() == last


@pytest.mark.parametrize("code", [SLEEPER, GIL_HOLDER, STUBBORN], ids=["sleeping", "holding the GIL", "stubborn"])
def test_engines_are_killed_two_seconds_after_the_lease_whatever_they_do(agent, launch, code):
    launcher = launch(code)
    agent.accept()
    assert launcher.read_line() == b"up\n"

    leased = time.monotonic()
    agent.order(do="lease", seconds=0.5)
    ended = agent.wait_for("exited")
    took = time.monotonic() - leased

    # A sleeping process obeys the SIGTERM that comes with the end of the lease.
    if code is SLEEPER:
        assert (ended["signal"], ended["code"]) == (signal.SIGTERM, None)
        assert 0.4 <= took < 2.0
    else:
        assert (ended["signal"], ended["code"], ended["oom"]) == (signal.SIGKILL, None, False)
        assert 2.4 <= took < 4.0


def test_the_end_of_the_lease_is_written_down_for_engines_that_wake_first(agent, launch, tmp_path):
    launcher = launch(f"import time; print(open({str(tmp_path / 'lease')!r}).read(), flush=True); time.sleep(60)")
    agent.accept()
    assert int(launcher.read_line()) == 0  # there is no lease yet, and the file is there before any engine

    before = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    agent.order(do="lease", seconds=40.0)
    agent.wait_for("usage")
    agent.wait_for("usage")
    after = time.clock_gettime_ns(time.CLOCK_BOOTTIME)

    assert before <= int((tmp_path / "lease").read_text()) - 40 * 10**9 <= after


def test_a_renewed_lease_keeps_engines_alive(agent, launch):
    launcher = launch(SLEEPER)
    agent.accept()
    assert launcher.read_line() == b"up\n"

    for _ in range(4):
        agent.order(do="lease", seconds=1.0)
        time.sleep(0.5)
    renewed_until = time.monotonic()
    agent.wait_for("exited")

    assert time.monotonic() - renewed_until >= 0.4


@pytest.mark.parametrize(
    ("order", "least", "most"), [({"do": "kill"}, 0, 1), ({"do": "deadline", "seconds": 0.5}, 0.4, 1.5)]
)
def test_an_order_to_kill_needs_nothing_of_the_engine(agent, launch, order, least, most):
    launcher = launch(GIL_HOLDER)
    agent.accept()
    assert launcher.read_line() == b"up\n"

    ordered = time.monotonic()
    agent.order(**order)
    ended = agent.wait_for("exited")

    assert ended["signal"] == signal.SIGKILL
    assert least <= time.monotonic() - ordered < most


def test_sigterm_is_passed_on_and_ends_as_the_engine_wishes(agent, launch):
    launcher = launch(
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: (print('last words', flush=True), sys.exit(143)))\n"
        "print('up', flush=True)\n"
        "time.sleep(60)"
    )
    agent.accept()
    assert launcher.read_line() == b"up\n"

    launcher.process.terminate()
    ended = agent.wait_for("exited")

    assert (ended["code"], ended["tail"]) == (143, "up\nlast words")
    assert launcher.wait() == 143
    assert launcher.read_line() == b"last words\n"


def test_sigterm_without_an_agent_ends_the_engines_too(launch):
    launcher = launch(SLEEPER)
    assert launcher.read_line() == b"up\n"

    launcher.process.terminate()

    assert launcher.wait() == 143


def test_engines_die_with_their_launcher(agent, launch):
    launcher = launch("import os, time; print(os.getpid(), flush=True); time.sleep(60)")
    pid = int(launcher.read_line())

    launcher.process.kill()
    launcher.process.wait(PATIENCE)

    deadline = time.monotonic() + PATIENCE
    while is_alive(pid):
        assert time.monotonic() < deadline, "the engine outlived its launcher"
        time.sleep(0.01)


def test_what_an_engine_has_started_ends_with_it(agent, launch):
    launcher = launch(
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "print(child.pid, flush=True)"
    )
    child = int(launcher.read_line())
    agent.accept()
    agent.wait_for("exited")

    deadline = time.monotonic() + PATIENCE
    while is_alive(child):
        assert time.monotonic() < deadline, "a process of the engine outlived it"
        time.sleep(0.01)


# Leaves its process group, its session and its parent, as a daemon does, and says who it is.
LEAVER = (
    "import os, sys, time\n"
    "if os.fork() == 0:\n"
    "    os.setsid()\n"
    "    if os.fork() == 0:\n"
    "        print(os.getpid(), flush=True); time.sleep(60)\n"
    "    os._exit(0)\n"
    "time.sleep({seconds})"
)


@pytest.mark.parametrize(
    ("seconds", "order"),
    [
        pytest.param(60, {"do": "lease", "seconds": 0.5}, id="the lease runs out"),
        pytest.param(60, {"do": "kill"}, id="its engine is killed"),
        pytest.param(0.2, {"do": "lease", "seconds": 50}, id="its engine ends"),
    ],
)
def test_who_leaves_an_engine_by_a_session_of_its_own_ends_with_it(agent, launch, seconds, order):
    launcher = launch(LEAVER.format(seconds=seconds))
    daemon = int(launcher.read_line())
    agent.accept()
    agent.order(**order)
    agent.wait_for("exited")

    deadline = time.monotonic() + PATIENCE
    while is_alive(daemon):
        assert time.monotonic() < deadline, "a process of the engine outlived it"
        time.sleep(0.01)
    agent.order(do="exit", code=0)
    assert launcher.wait() == 0


def test_who_has_left_one_engine_lives_while_another_does(agent, launch):
    launcher = launch(
        "import os, time\nif os.environ['LOADSTONE_ENGINE'] == '1':\n    time.sleep(60)\n" + LEAVER.format(seconds=0),
        engines=2,
    )
    daemon = int(launcher.read_line())
    agent.accept()
    agent.wait_for("exited")
    time.sleep(1.5)
    assert is_alive(daemon)

    agent.order(do="kill")

    agent.wait_for("exited")
    deadline = time.monotonic() + PATIENCE
    while is_alive(daemon):
        assert time.monotonic() < deadline, "it outlived the last engine"
        time.sleep(0.01)


def test_a_new_agent_is_told_everything(agent, launch):
    launch("print('gone')")
    agent.accept()
    first = agent.wait_for("exited")
    agent.hang_up()

    agent.accept()

    assert agent.event()["event"] == "hello"
    assert agent.event()["event"] == "started"
    assert agent.event() == first


def test_the_tail_is_the_last_twenty_lines_of_both_outputs(agent, launch):
    launcher = launch(
        "import sys\nfor n in range(50): print('line', n, file=sys.stderr)\nsys.stderr.write('without an end')"
    )
    agent.accept()
    tail = agent.wait_for("exited")["tail"].splitlines()
    agent.order(do="exit", code=0)

    assert tail == [*(f"line {n}" for n in range(31, 50)), "without an end"]
    assert launcher.wait() == 0
    assert launcher.process.stderr.read().splitlines()[-1] == b"without an end"


def test_a_reader_that_stops_holds_up_neither_engine_nor_kill(agent, launch):
    launcher = launch("import os\nwhile True: os.write(1, b'x' * 1000 + b'\\n')")
    agent.accept()
    time.sleep(1.0)

    agent.order(do="kill")
    ended = agent.wait_for("exited")

    # Nobody read the launcher's output, yet it read the engine's.
    assert ended["signal"] == signal.SIGKILL
    assert ended["tail"].count("\n") == 19
    agent.order(do="exit", code=7)
    assert launcher.wait() == 7


def test_an_engine_that_breaks_off_before_anything_else_is_an_end_with_a_reason(agent, launch):
    launch("raise RuntimeError('no such module')")
    agent.accept()

    ended = agent.wait_for("exited")

    assert ended["code"] == 1
    assert ended["tail"].splitlines()[-1] == "RuntimeError: no such module"


def test_an_engine_is_as_an_interpreter_that_was_just_started(agent, launch):
    launcher = launch(
        "import json, os, signal, sys, threading\n"
        "print(json.dumps([sorted(map(int, os.listdir('/proc/self/fd')))[:-1], os.read(0, 1).decode(),\n"
        "  [signal.getsignal(n) == h for n, h in ((signal.SIGTERM, signal.SIG_DFL), (signal.SIGCHLD, signal.SIG_DFL),\n"
        "    (signal.SIGINT, signal.default_int_handler))], signal.set_wakeup_fd(-1), os.getpgrp() == os.getpid(),\n"
        "  threading.active_count()]))"
    )
    agent.accept()

    assert json.loads(launcher.read_line()) == [[0, 1, 2, 3], "", [True, True, True], -1, True, 1]


def test_process_lists_show_what_an_engine_is(agent, tmp_path):
    environment = {**os.environ, "LOADSTONE_SOCKET_DIR": str(tmp_path), "LOADSTONE_ENGINE_ROLE": "director"}
    process = subprocess.Popen([sys.executable, "-m", "loadstone_runner", "launcher"], env=environment)
    try:
        agent.accept()
        pid = agent.wait_for("started")["pid"]
        deadline = time.monotonic() + PATIENCE
        while (words := Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").split(b"\0"))[-1] != b"director":
            assert time.monotonic() < deadline, words
            time.sleep(0.01)
        assert words[-2:] == [b"loadstone_runner", b"director"]
    finally:
        process.kill()
        process.wait()


# The kernel keeps 15 bytes of a name, here the first two of the fifth letter of six.
NAMED = "import ctypes, time; ctypes.CDLL(None).prctl(15, 'a\u6ce8\u6587\u51e6\u7406\u7a0b\u5e8f'.encode()); "


def test_an_engine_whose_name_is_cut_amid_a_letter_is_watched_like_any_other(agent, launch):
    launcher = launch(NAMED + "print('up', flush=True); time.sleep(60)")
    assert launcher.read_line() == b"up\n"
    agent.accept()
    agent.hang_up()
    agent.accept()  # what was said before it had that name is not said again

    assert agent.wait_for("usage")["engines"][0][0] == 0
    agent.order(do="exit", code=7)
    assert launcher.wait() == 7


def test_a_foreign_process_whose_name_is_cut_amid_a_letter_ends_no_launcher(agent, launch):
    other = subprocess.Popen(
        [sys.executable, "-c", NAMED + "print(flush=True); time.sleep(60)"], stdout=subprocess.PIPE
    )
    try:
        assert other.stdout is not None
        other.stdout.readline()
        launcher = launch("")
        agent.accept()
        agent.wait_for("exited")

        agent.order(do="exit", code=7)
        assert launcher.wait() == 7
    finally:
        other.kill()
        other.communicate()


def test_usage_grows_while_an_engine_works(agent, launch):
    launch("while True: pass")
    agent.accept()
    first = newest = agent.wait_for("usage")
    deadline = time.monotonic() + PATIENCE
    # How long a tenth of a second of processor time takes is up to what else runs here.
    while newest["cpu_ns"] - first["cpu_ns"] <= 100_000_000 and time.monotonic() < deadline:
        newest = agent.wait_for("usage")

    assert newest["cpu_ns"] - first["cpu_ns"] > 100_000_000
    assert newest["memory_bytes"] > 1_000_000


def test_a_kill_by_the_kernel_for_want_of_memory_is_told_from_others(agent, launch, memory_cgroup):
    launch("held = bytearray()\nwhile True: held += b'x' * 1_000_000", cgroup=memory_cgroup)
    agent.accept()

    ended = agent.wait_for("exited")

    assert (ended["signal"], ended["oom"]) == (signal.SIGKILL, True)


def test_engines_know_their_container_s_memory_and_may_open_all_the_files_that_it_allows(launch, memory_cgroup):
    launcher = launch(
        "import os, resource; print(os.environ['LOADSTONE_MEMORY_LIMIT'], *resource.getrlimit(resource.RLIMIT_NOFILE),"
        " flush=True)",
        cgroup=memory_cgroup,
    )
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)

    assert launcher.read_line().split() == [b"67108864", b"%d" % hard, b"%d" % hard]


@pytest.mark.alone
def test_launcher_starts_with_little_processor_time(agent, launch):
    launcher = launch("import time; time.sleep(60)")
    agent.accept()

    assert processor_seconds(launcher.process.pid) <= 0.15


@pytest.fixture
def memory_cgroup():
    """Give a new memory cgroup of 64 MiB."""
    root = Path("/sys/fs/cgroup")
    is_unified = (root / "cgroup.controllers").exists()
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        number, controllers, path = line.split(":", 2)
        if number == "0" if is_unified else controllers == "memory":
            base = root / ("" if is_unified else "memory") / path.strip("/")
            break
    else:
        lacks("this machine has no memory cgroup")
    group = base / f"loadstone-test-{os.getpid()}"
    try:
        group.mkdir()
        (group / ("memory.max" if is_unified else "memory.limit_in_bytes")).write_text(str(64 * 1024 * 1024))
    except OSError as error:
        lacks(f"no memory cgroup can be made here: {error}: run as root")
    yield str(group)
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            for pid in (group / "cgroup.procs").read_text().split():
                os.kill(int(pid), signal.SIGKILL)
            group.rmdir()
            break
        time.sleep(0.05)
