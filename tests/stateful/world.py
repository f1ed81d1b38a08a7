"""One run in virtual time: a cluster of made-up nodes with real masters and agents in its pods, and what befalls them.

The operator is a model: it makes pods, tells the master what has ended, what is asked, and keeps the report; its client
of the master is the real one. So is the kubelet, which starts again what was killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.stateful.clockwork import SECOND, Machine, Process, VirtualTimeLoop
from tests.stateful.engine import Engine, Sent
from tests.stateful.laws import Laws
from tests.stateful.network import Network
from tests.stateful.peers import Director, Launcher

from loadstone_core.load.profile import LoadProfile, Model, Profile, Segment
from loadstone_core.load.scenario import Scenario
from loadstone_core.plan.model import RunIdentity, RunPlan, ScriptRef
from loadstone_core.spec.model import MasterOnLoss, OnLoss, Tls
from loadstone_core.stats.stream import StreamId
from loadstone_protocol.follower import Follower, MasterRefused, MasterUnreachable
from loadstone_protocol.v1 import control_pb2
from loadstone_runner.agent import service as agent_service
from loadstone_runner.master import service as master_service
from loadstone_runner.settings import Address, AgentSettings, MasterSettings

if TYPE_CHECKING:
    from pathlib import Path

RUN_UID = "uid-1/1"
PORT = 8650
SERVICE = "master"
OPERATOR = "10.0.0.1"
ATTEMPTS_MOST = 5
EARLY = frozenset({OnLoss.REPLACE, OnLoss.REDISTRIBUTE})  # before the load those replace who is lost
SIGTERM = 15
RATED_SECONDS = 6  # that are looked at to see a rate
SHARE_OF_NEW_NODES = 0.3  # of pods, an autoscaler or a cloud having made the node for them
LONGEST_STANDSTILL = 16.0  # of a process, or an absence of its path


@dataclass(frozen=True)
class Shape:
    """What a run is made of."""

    workers: int
    engines: int
    users: int
    seconds: float
    lease_seconds: float
    healed_at: float  # seconds after the beginning
    iterations: int | None = None
    setup_seconds: float = 0.05  # the load waits for it, and workers may be lost meanwhile
    has_rate: bool = False  # the users are iterations a second
    max_users: int | None = None  # of a rate
    ramp_seconds: float = 0.0
    on_loss: OnLoss = OnLoss.REPLACE
    max_lost_percent: int = 100
    min_available: int | None = None
    startup_seconds: float = 60.0
    late_seconds: float = 0.0  # the first pod of one worker has to wait so long for a node
    late_worker: int = 0
    master_on_loss: MasterOnLoss = MasterOnLoss.RESTART

    @property
    def is_parted(self) -> bool:
        """Whether the network falls apart, and for how long: both halves have to notice."""
        return self.healed_at > 30

    @property
    def full_seconds(self) -> float:
        """How long after its beginning the load can be seen in full: a ramp may begin once more after a pause."""
        return self.ramp_seconds + (RATED_SECONDS + 2 if self.has_rate else 0.0)

    def plan(self) -> RunPlan:
        scenario = Scenario(name="default", load=self._load(), graceful_stop_ns=3 * SECOND, target="http://target")
        return RunPlan(
            run=RunIdentity(uid=RUN_UID, loadtest="test", namespace="default", number=1, epoch=1),
            spec_digest="sha256:00",
            workers=self.workers,
            engines_per_worker=self.engines,
            scenarios=(scenario,),
            tolerance_ppm=10_000,
            target="http://target",
            percentiles=("50", "99"),
            thresholds=(),
            warm_up_ns=0,
            startup_timeout_ns=int(self.startup_seconds * SECOND),
            script=ScriptRef(digest=None, directory="/scripts", entrypoint="test.py"),
            max_lost_percent=self.max_lost_percent,
            lease_ns=int(self.lease_seconds * SECOND),
            tls=Tls.DISABLED,
            on_loss=self.on_loss,
            min_available=self.min_available,
            master_on_loss=self.master_on_loss,
        )

    def _load(self) -> LoadProfile:
        if self.iterations is not None:
            profile = Profile((Segment(0, 2**63 - 1, self.users, self.users),), None)
            return LoadProfile(Model.ITERATIONS, profile, self.iterations)
        length, ramp = int(self.seconds * SECOND), int(self.ramp_seconds * SECOND)
        ramping = (Segment(0, ramp, 0, self.users),) if ramp else ()
        profile = Profile((*ramping, Segment(ramp, length - ramp, self.users, self.users)), length)
        model = Model.RATE if self.has_rate else Model.USERS
        return LoadProfile(model, profile, None, max_users=self.max_users)


@dataclass
class Pod:
    """One pod: its node, its folder, and the processes in it."""

    name: str
    address: str
    machine: Machine
    folder: Path
    main: Process | None = None  # of the sidecar: the agent, or the master
    launcher: Process | None = None
    engines: dict[int, Process] = field(default_factory=dict)
    worker: int = -1
    attempt: int = 0
    has_begun: bool = False  # of a master: one before had ordered the load
    attempts: dict[int, int] = field(default_factory=dict)  # of a master: of the workers that were replaced before it
    workers: int = 0  # of a master: how many were wanted when it was made; 0 = as planned
    workers_made: int = 0  # and at any time before
    is_gone: bool = False
    is_deleted: bool = False
    starts: int = 0

    @property
    def processes(self) -> list[Process]:
        held = [self.main, self.launcher, *self.engines.values()]
        return [each for each in held if each is not None and each.is_alive]


class World:
    """The cluster of one run."""

    def __init__(self, shape: Shape, folder: Path, loop: VirtualTimeLoop, dice: random.Random) -> None:
        self.shape, self.loop, self.dice, self._folder = shape, loop, dice, folder
        self.network = Network(loop, dice)
        self.plan = shape.plan()
        hearing = LONGEST_STANDSTILL + shape.lease_seconds + 8
        most_lost = self._most_lost(shape.workers)
        self.laws = Laws(loop, self.network, hearing_seconds=hearing, planned=shape.workers, most_lost=most_lost)
        self.laws.most_guests = shape.max_users or math.inf
        self.epoch = 0
        self.masters: list[Pod] = []
        self.is_sole = True  # of every master but the newest it is known that it has ended
        self.pods: dict[int, Pod] = {}  # the newest of each worker
        self.all_pods: list[Pod] = []
        self.newest_master_at = 0.0
        self.outcome: Any = None
        self.last_word: Any = None  # of a master that ended before anybody has fetched its outcome
        self.report: Any = None
        self.users_asked = shape.users
        self.workers_wanted = self.workers_made = shape.workers
        self.is_paused = self.is_stopped = self.is_killed = False
        self.is_given_up = False  # the master was lost, and none is to follow
        self._attempts: dict[int, int] = {}
        self._numbers_wanted: list[int] = []
        self._coming: set[int] = set()  # workers whose first pods are made in mid-run
        self._ended: list[control_pb2.WorkerEnd] = []
        self._revision = self._count = 0
        self.is_over = False
        self._has_begun = False
        self.operator = Process(loop, "operator", Machine(loop, dice), OPERATOR)
        # Dice of its own, so that runs of old nodes alone stay what they were.
        self._nodes = random.Random(f"nodes {shape}")  # noqa: S311 a game

    # --- Pods.

    def begin(self) -> None:
        (self._folder / "run.json").write_text(self.plan.to_json())
        (self._folder / "scripts").mkdir()
        self.make_master()
        for worker in range(self.shape.workers):
            if self.shape.late_seconds and worker == self.shape.late_worker:
                self.network.after(self.shape.late_seconds, self._make_again, worker, 1)
            else:
                self.make_worker(worker, 1)
        self.operator.spawn(self._operate())
        self.laws.asked.append((self.loop.time(), self.users_asked))

    def make_master(self, *, is_sole: bool = True) -> Pod:
        """Make the pod of the next master; the Service has its address once it is ready."""
        self.epoch += 1
        self.is_sole = self.is_sole and is_sole
        pod = self._pod(f"master-{self.epoch}")
        # As the status has it, if the operator was there to see it.
        pod.has_begun, pod.attempts = self._has_begun, {**self._attempts}
        pod.workers, pod.workers_made = (self.workers_wanted, self.workers_made) if self.has_resized else (0, 0)
        self.masters.append(pod)
        self.newest_master_at = self.loop.time()
        director = Process(self.loop, f"director of {pod.name}", pod.machine, pod.address)
        pod.engines[0] = director
        pod.launcher = Process(self.loop, f"launcher of {pod.name}", pod.machine, pod.address)
        director.call(Director, self.network, pod.folder, director, self.shape.setup_seconds)
        pod.launcher.call(self._make_launcher, pod, "director")
        self.start_main(pod)
        self.network.names[SERVICE] = [pod.address]
        return pod

    def follow_master(self, *, is_sole: bool = True) -> None:
        """Make the next master of one that is lost, or end the run where none is to follow."""
        if self.shape.master_on_loss is MasterOnLoss.RESTART:
            self.make_master(is_sole=is_sole)
            return
        main = self.masters[-1].main
        if main is not None and main.is_alive:
            # It has a grace to come to an end, and that may be an outcome.
            self.network.after(0.5, self.follow_master)
        elif not self.is_decided:
            self.is_given_up = True
            self.laws.note("the master is lost, and the run with it")

    def make_worker(self, worker: int, attempt: int) -> Pod:
        pod = self._pod(f"worker-{worker}.{attempt}")
        pod.worker, pod.attempt = worker, attempt
        if worker not in self.pods or self.pods[worker].attempt < attempt:
            self.pods[worker] = pod
        self.all_pods.append(pod)
        pod.launcher = Process(self.loop, f"launcher of {pod.name}", pod.machine, pod.address)
        for number in range(self.shape.engines):
            stream = StreamId(worker, attempt, number, 1)
            sent = self.laws.sent[stream] = Sent(stream)
            name = f"engine {number} of {pod.name}"
            engine = pod.engines[number] = Process(self.loop, name, pod.machine, pod.address)
            engine.call(self._make_engine, pod, number, sent)
        pod.launcher.call(self._make_launcher, pod, "engine")
        pod.launcher.on_end.append(lambda _process: self._see_container_end(pod))
        self.start_main(pod)
        return pod

    def start_main(self, pod: Pod) -> None:
        """Start the sidecar of a pod, for the first time or again."""
        if pod.is_gone or self.loop.is_buried:
            return
        pod.starts += 1
        name = "master" if pod.worker < 0 else "agent"
        pod.main = Process(self.loop, f"{name} of {pod.name} (start {pod.starts})", pod.machine, pod.address)
        last_word = pod.folder / f"last-word-{pod.starts}"
        pod.main.on_end.append(lambda process: self._see_main_end(pod, process, last_word))
        if pod.worker < 0:
            if pod.starts > 1:
                self.laws.see_restart(pod.main)
            pod.main.main(master_service.serve(self._master_settings(pod, last_word), pod.machine))
        else:
            pod.main.main(agent_service.serve(self._agent_settings(pod, last_word), pod.machine))
        self.laws.note(f"started {pod.main.name}")

    def _pod(self, name: str) -> Pod:
        self._count += 1
        folder = self._folder / name
        folder.mkdir()
        is_new = self._nodes.random() < SHARE_OF_NEW_NODES
        return Pod(name, f"10.0.1.{self._count}", Machine(self.loop, self.dice, is_new=is_new), folder)

    def _make_launcher(self, pod: Pod, role: str) -> None:
        assert pod.launcher is not None
        launcher = Launcher(self.network, pod.folder, pod.launcher, engines=pod.engines, role=role)
        pod.launcher.signals[SIGTERM] = launcher.terminate

    def _make_engine(self, pod: Pod, number: int, sent: Sent) -> None:
        Engine(self.network, pod.folder, pod.engines[number], number=number, dice=self.dice, sent=sent)

    def _master_settings(self, pod: Pod, last_word: Path) -> MasterSettings:
        return MasterSettings(
            run_file=str(self._folder / "run.json"),
            script_dir=str(self._folder / "scripts"),
            listen=Address("0.0.0.0", PORT),
            metrics=None,
            socket_dir=str(pod.folder),
            state_dir=str(pod.folder / "state"),
            termination_file=str(last_word),
            linger_seconds=0,
            hold_seconds=60,
            epoch=int(pod.name.rpartition("-")[2]),
            has_successor=self.shape.master_on_loss is MasterOnLoss.RESTART,
            is_sole=self.is_sole,
            has_begun=pod.has_begun,
            attempts=pod.attempts,
            workers=pod.workers,
            workers_made=pod.workers_made,
            tls_dir="",
            log_dir=str(pod.folder / "log"),
            control=None,
        )

    def _agent_settings(self, pod: Pod, last_word: Path) -> AgentSettings:
        return AgentSettings(
            run_uid=RUN_UID,
            epoch=1,
            worker=pod.worker,
            attempt=pod.attempt,
            pod=pod.name,
            master=Address(SERVICE, PORT),
            script_dir=str(self._folder / "scripts"),
            entrypoint="test.py",
            metrics=None,
            socket_dir=str(pod.folder),
            termination_file=str(last_word),
            engines=self.shape.engines,
            tls_dir="",
            log_dir=str(pod.folder / "log"),
        )

    # --- The kubelet.

    def _see_main_end(self, pod: Pod, process: Process, last_word: Path) -> None:
        self.laws.see_exit(process, last_word)
        self.network.look()
        if pod.worker < 0 and process.exit_code == 0 and self.outcome is None and pod is self.masters[-1]:
            # As an operator reads it that was not there when the master had its outcome.
            self.last_word = json.loads(last_word.read_text())
        has_launcher = pod.launcher is not None and pod.launcher.is_alive
        is_done = process.exit_code is not None and (pod.worker < 0 or not has_launcher)
        if not (pod.is_gone or pod.is_deleted or is_done):
            self.network.after(self.dice.uniform(0.2, 2.0), self.start_main, pod)

    def _see_container_end(self, pod: Pod) -> None:
        """The engines' container of a worker has ended: the operator sees that, unless the node is away."""
        launcher = pod.launcher
        assert launcher is not None
        if not pod.is_gone:
            code = launcher.exit_code
            self.laws.note(f"the engines' container of {pod.name} ended with {code}")
            self.network.after(self.dice.uniform(0.1, 1.5), self._tell_end, pod, 137 if code is None else code)
            self.network.after(self.dice.uniform(1.0, 3.0), self._end_sidecar, pod)

    def _end_sidecar(self, pod: Pod) -> None:
        if pod.main is not None and pod.main.is_alive:
            pod.main.signal(SIGTERM)

    def _tell_end(self, pod: Pod, code: int) -> None:
        reason = "Error" if code else "Completed"
        self._ended.append(control_pb2.WorkerEnd(worker=pod.worker, attempt=pod.attempt, reason=reason, exit_code=code))
        self._revision += 1

    # --- The operator.

    def ask(self, users: int | None = None, *, is_paused: bool | None = None) -> None:
        """Want another load."""
        self.users_asked = self.users_asked if users is None else users
        self.is_paused = self.is_paused if is_paused is None else is_paused
        self._revision += 1
        self.laws.asked.append((self.loop.time(), 0 if self.is_paused else self.users_asked))
        self.laws.note(f"asked for {self.users_asked} users{', paused' if self.is_paused else ''}")

    def resize(self, workers: int) -> None:
        """Want another number of workers."""
        self.workers_wanted = workers
        self._numbers_wanted.append(workers)
        self.laws.least_wanted = min(self._numbers_wanted)
        self.workers_made = max(self.workers_made, workers)
        self._revision += 1
        self.laws.most_lost = max(self.laws.most_lost, self._most_lost(workers))
        self.laws.note(f"wants {workers} workers")

    def _most_lost(self, workers: int) -> int:
        """Return how many of so many may be lost while there is load, or when it begins."""
        most_lost = 0 if self.shape.on_loss is OnLoss.ABORT else self.plan.most_lost(workers)
        return max(most_lost, workers - (self.shape.min_available or workers))

    @property
    def has_resized(self) -> bool:
        """Whether another number of workers was ever wanted."""
        return bool(self._numbers_wanted)

    def stop(self) -> None:
        self.is_stopped = True
        self._revision += 1
        self.laws.note("wants the run to stop")

    def kill(self) -> None:
        """Want that nothing of the run goes on."""
        if not self.is_decided:
            self.is_stopped = self.is_killed = True
            self._revision += 1
            self.laws.note("wants the run killed")

    @property
    def is_decided(self) -> bool:
        """Whether the run is over for the operator."""
        return self.outcome is not None or self.last_word is not None or self.is_given_up

    @property
    def makes_load(self) -> bool:
        """Whether the run is where it makes load, for all that the operator knows."""
        return not self.is_decided and self.report is not None and self.report.stage == control_pb2.RUNNING_LOAD

    def _steering(self) -> control_pb2.Steering:
        aims = [control_pb2.Aim(scenario="default", value=self.users_asked, rate=self.shape.has_rate)]
        steering = control_pb2.Steering(
            run_uid=RUN_UID, epoch=self.epoch, revision=self._revision + 1, paused=self.is_paused, ended=self._ended,
            aims=aims if self.shape.iterations is None else [],
        )  # fmt: skip
        if self.has_resized:
            steering.workers = self.workers_wanted
        if self.is_stopped:
            steering.stop, steering.stop_reason = True, "Killed" if self.is_killed else "Stopped"
        return steering

    async def _operate(self) -> None:
        """Follow the newest master until it has an outcome, steer it, keep its report."""
        while not self.is_decided:
            pod = self.masters[-1]
            follower = Follower(f"{pod.address}:{PORT}", RUN_UID, self.epoch)
            steering = asyncio.ensure_future(self._steer(follower))
            with contextlib.suppress(MasterUnreachable, MasterRefused):
                async for report in follower.watch():
                    self.report = report
                    self._has_begun = self._has_begun or report.stage > control_pb2.GATHERING
                    self._staff(report)
                    self._replace(report)
                    if report.HasField("outcome"):
                        self.outcome = report.outcome
                        break
                    if pod is not self.masters[-1]:
                        break
            if self.outcome is not None:
                await self._store(follower)
            steering.cancel()
            await follower.close()
            await asyncio.sleep(0.3)
        self.is_over = True
        self.laws.asked.append((self.loop.time(), 0))
        for pod in self.all_pods:
            self.network.after(self.dice.uniform(0.1, 1.0), self.delete, pod)

    async def _steer(self, follower: Follower) -> None:
        """Tell one connection's master what is wanted, whenever it holds less."""
        held = 0
        while True:
            if held < self._revision + 1:
                with contextlib.suppress(MasterUnreachable, MasterRefused):
                    held = await follower.steer(self._steering())
            await asyncio.sleep(0.25)

    async def _store(self, follower: Follower) -> None:
        for _ in range(100):
            with contextlib.suppress(MasterUnreachable, MasterRefused):
                await follower.fetch_report()
                await follower.stored(self.outcome.report_sha256)
                return
            await asyncio.sleep(0.5)

    def _staff(self, report: Any) -> None:
        """Make pods for workers that the master expects since more are wanted, and end those that are not needed."""
        if self.is_stopped or report.stage > control_pb2.RUNNING_LOAD:
            return
        state = control_pb2.WorkerReport
        for each in report.workers:
            is_wanted, newest = each.worker < self.workers_wanted, self._attempts.get(each.worker, 1)
            is_new = each.worker not in self.pods and each.worker not in self._coming
            if is_wanted and each.state == state.EXPECTED and is_new and each.worker >= self.shape.workers:
                self._coming.add(each.worker)
                self.network.after(self.dice.uniform(0.3, 3.0), self._make_again, each.worker, 1)
            elif is_wanted and each.state in {state.ENDED_WORKER, state.RETIRED} and each.attempt == newest:
                self._attempts[each.worker] = newest + 1
                self.laws.note(f"makes worker {each.worker} again, which is wanted again")
                self.network.after(self.dice.uniform(0.3, 3.0), self._make_again, each.worker, newest + 1)
            pod = self.pods.get(each.worker)
            if each.state == state.RETIRED and pod is not None and pod.attempt == each.attempt and not pod.is_deleted:
                self.laws.note(f"ends worker {each.worker}, which has retired")
                self.delete(pod)

    def _replace(self, report: Any) -> None:
        """Make another pod for a worker that is lost, as `loadstone_operator.replacing` would."""
        wanted = {control_pb2.GATHERING: EARLY, control_pb2.RUNNING_LOAD: {OnLoss.REPLACE}}.get(report.stage, ())
        if self.shape.on_loss not in wanted or self.is_stopped:
            return
        for each in report.workers:
            newest = self._attempts.get(each.worker, 1)
            is_lost = each.state == control_pb2.WorkerReport.LOST and each.attempt == newest
            is_lost = is_lost and each.worker < self.workers_wanted
            if is_lost and newest < ATTEMPTS_MOST:
                self._attempts[each.worker] = newest + 1
                self.laws.note(f"replaces worker {each.worker}, which is lost: {each.reason} {each.message}")
                self.network.after(self.dice.uniform(0.3, 3.0), self._make_again, each.worker, newest + 1)

    def _make_again(self, worker: int, attempt: int) -> None:
        if not self.is_over:
            self.make_worker(worker, attempt)

    # --- The end of pods.

    def delete(self, pod: Pod) -> None:
        """Have the kubelet end a pod; what has not ended by itself in its grace is killed."""
        if pod.is_gone or pod.is_deleted:
            return
        pod.is_deleted = True
        # Of a worker the kubelet ends the agent's container when that of the engines has ended.
        is_first = pod.worker >= 0 and pod.launcher is not None and pod.launcher.is_alive
        for process in (pod.launcher,) if is_first else (pod.main, pod.launcher):
            if process is not None and process.is_alive:
                process.signal(SIGTERM)
        self.network.after(30.0, self._end, pod)

    def lose(self, pod: Pod) -> None:
        """Let a pod's node be gone: nobody hears anything of it any more."""
        if not pod.is_gone:
            self.network.take_away(pod.address)
            self._end(pod)

    def _end(self, pod: Pod) -> None:
        """End all processes of a pod."""
        if pod.is_gone:
            return
        pod.is_gone = True
        for number, process in pod.engines.items():
            if pod.worker >= 0 and process.is_alive:
                self.laws.may_lose.add(StreamId(pod.worker, pod.attempt, number, 1))
        for process in pod.processes:
            process.kill()
        self.network.look()
