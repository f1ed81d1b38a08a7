"""What befalls a run: each fault is one thing that happens to nodes, pods, processes and paths, or one wish of a user.

Faults come at random moments until the world is healed. What a fault may cost is noted where it is done.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from loadstone_core.stats.stream import StreamId

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.stateful.connections import Connection
    from tests.stateful.world import Pod, World


class Mischief:
    """The faults of one run."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._dice = world.dice
        self._frozen: list[Pod] = []
        self._parted: list[Pod] = []  # masters whose pods are there no more for the cluster, and live on
        self.is_healed = False
        # While there was load, as far as the operator knew.
        self.has_taken_master = False
        self.has_taken_worker = False
        self.done: list[str] = []

    def menu(self) -> list[Callable[[], str]]:
        return [
            self.cut_a_worker_off,
            self.cut_the_operator_off,
            self.reset_a_connection,
            self.let_a_connection_go_deaf,
            self.let_a_connection_stutter,
            self.slow_everything_down,
            self.kill_an_agent,
            self.kill_an_engine,
            self.kill_an_engines_container,
            self.delete_a_worker,
            self.lose_a_node,
            self.freeze_a_worker,
            self.freeze_a_process,
            self.kill_the_master,
            self.lose_the_master,
            self.lose_a_worker_and_soon_the_master,
            self.lose_the_master_and_soon_start_its_successor_again,
            self.freeze_the_master,
            self.want_another_load,
            self.pause,
        ]

    def do(self, fault: Callable[[], str]) -> None:
        """Do one of them, unless everything is healed by now, or the run is over."""
        if self.is_healed or self._world.outcome is not None or self._world.is_given_up:
            return
        said = fault()
        if said:
            self.done.append(fault.__name__)
            self._world.laws.note(f"MISCHIEF: {said}")
        self._world.network.look()

    def heal(self) -> None:
        """Let everything be well from now on."""
        self.is_healed = True
        self._world.laws.note("everything is healed")
        self._world.network.heal_all()
        for pod in self._parted:
            # The kubelet hears of it at last.
            self._world.delete(pod)
        for pod in self._frozen:
            self._thaw(pod)
        if self._world.is_paused:
            self._world.ask(is_paused=False)

    # Paths.

    def cut_a_worker_off(self) -> str:
        pod = self._a_pod()
        master = self._world.masters[-1]
        seconds = self._dice.choice((0.3, 2, 6, 12, 20))
        self._world.network.cut(pod.address, master.address)
        self._later(seconds, lambda: self._world.network.heal(pod.address, master.address))
        return f"{pod.name} is cut off from {master.name} for {seconds} s"

    def cut_the_operator_off(self) -> str:
        master, seconds = self._world.masters[-1], self._dice.choice((1, 5, 15))
        self._world.network.cut(self._world.operator.address, master.address)
        self._later(seconds, lambda: self._world.network.heal(self._world.operator.address, master.address))
        return f"the operator is cut off for {seconds} s"

    def reset_a_connection(self) -> str:
        held = self._connections()
        if not held:
            return ""
        connection = self._dice.choice(held)
        if self._dice.random() < 0.5:
            # The client's side is dropped, and the server hears of it late.
            connection.break_client("reset")
            self._later(self._dice.choice((0.01, 1, 8)), connection.break_server)
        else:
            connection.break_server()
            self._later(self._dice.choice((0.01, 1, 8)), lambda: connection.break_client("reset"))
        return f"a connection of {connection.client.name} is reset"

    def let_a_connection_go_deaf(self) -> str:
        """Nothing is heard on it any more, in neither direction, and it lives on for whoever pings."""
        return self._spoil("is_deaf", "goes deaf")

    def let_a_connection_stutter(self) -> str:
        """What is said on it comes twice now and then, or behind what was said after it."""
        return self._spoil("stutters", "stutters")

    def _spoil(self, how: str, said: str) -> str:
        """Let a connection of an agent be so from now on."""
        held = [each for each in self._connections() if each.client.name.startswith("agent")]
        if not held:
            return ""
        connection = self._dice.choice(held)
        setattr(connection, how, True)
        return f"a connection of {connection.client.name} {said}"

    def slow_everything_down(self) -> str:
        factor, seconds = self._dice.choice((10, 50)), self._dice.choice((3, 8))
        self._world.network.slowness = factor

        def quicken() -> None:
            self._world.network.slowness = 1.0

        self._later(seconds, quicken)
        return f"the network is {factor} times as slow for {seconds} s"

    # Workers.

    def kill_an_agent(self) -> str:
        pod = self._a_pod()
        main = pod.main
        if main is None or not main.is_alive:
            return ""
        if pod.launcher is None or not pod.launcher.is_alive:
            self._forget_ends(pod)  # it alone had heard of them
        main.kill()
        self._world.laws.restarted.add((pod.worker, pod.attempt))
        return f"SIGKILL for {main.name}"

    def kill_an_engine(self) -> str:
        pod = self._a_pod()
        engine = self._dice.choice(list(pod.engines.values()))
        if not engine.is_alive:
            return ""
        self.has_taken_worker |= self._world.makes_load
        engine.kill()
        return f"SIGKILL for {engine.name}"

    def kill_an_engines_container(self) -> str:
        pod = self._a_pod()
        launcher = pod.launcher
        if launcher is None or not launcher.is_alive:
            return ""
        if pod.main is None or not pod.main.is_alive:
            self._forget_ends(pod)  # no agent hears of them
        self.has_taken_worker |= self._world.makes_load
        launcher.kill()
        return f"SIGKILL for {launcher.name}"

    def _forget_ends(self, pod: Pod) -> None:
        """Let nobody know how a pod's engines have ended."""
        engines = range(self._world.shape.engines)
        self._world.laws.may_lose |= {StreamId(pod.worker, pod.attempt, engine, 1) for engine in engines}

    def delete_a_worker(self) -> str:
        """Have the kubelet end a pod: the engines' container first, then the agent's."""
        pod = self._a_pod()
        if pod.is_gone or pod.is_deleted or pod.launcher is None:
            return ""
        self.has_taken_worker |= self._world.makes_load
        self._world.delete(pod)
        return f"{pod.name} is deleted"

    def lose_a_node(self) -> str:
        pod = self._a_pod()
        if pod.is_gone:
            return ""
        self.has_taken_worker |= self._world.makes_load
        self._world.lose(pod)
        return f"the node of {pod.name} is lost"

    def freeze_a_worker(self) -> str:
        pod, seconds = self._a_pod(), self._dice.choice((1, 4, 9, 16))
        for process in pod.processes:
            process.freeze()
        self._frozen.append(pod)
        self._later(seconds, lambda: self._thaw(pod))
        return f"{pod.name} stands still for {seconds} s"

    def freeze_a_process(self) -> str:
        pod = self._a_pod()
        if not pod.processes:
            return ""
        process, seconds = self._dice.choice(pod.processes), self._dice.choice((1, 4, 9, 16))
        process.freeze()
        self._frozen.append(pod)
        self._later(seconds, lambda: self._thaw(pod))
        return f"{process.name} stands still for {seconds} s"

    # The master.

    def kill_the_master(self) -> str:
        main = self._world.masters[-1].main
        if main is None or not main.is_alive:
            return ""
        main.kill()
        self.has_taken_master |= self._world.makes_load
        return f"SIGKILL for {main.name}"

    def lose_the_master(self) -> str:
        """Lose the master's node, or have its pod deleted, and make another pod for it."""
        pod = self._world.masters[-1]
        if pod.is_gone or pod.is_deleted or len(self._world.masters) >= 4:
            return ""
        self._world.laws.may_lose_ended = True
        self._later_even_if_healed(self._dice.choice((0.5, 3, 6)), self._world.follow_master)
        # One that stands still would end late, and nothing waits for that yet.
        if self._dice.random() < 0.5 and pod.main is not None and pod.main.is_alive and not pod.main.is_frozen:
            self._world.delete(pod)
            return f"{pod.name} is deleted"
        self._world.lose(pod)
        return f"the node of {pod.name} is lost"

    def lose_a_worker_and_soon_the_master(self) -> str:
        """Let a load move, and the master be gone before it has moved back."""
        said = self.kill_an_engines_container()
        self._later(self._dice.choice((1.0, 1.5, 2.5, 4.0)), lambda: self.do(self.lose_the_master))
        return said

    def lose_the_master_and_soon_start_its_successor_again(self) -> str:
        """Let the next one be killed as soon as it has heard of its workers, or a moment before or after."""
        said = self.lose_the_master()
        if said:
            self._later(self._dice.uniform(0.5, 7.5), lambda: self.do(self.kill_the_master))
        return said

    def freeze_the_master(self) -> str:
        pod, seconds = self._world.masters[-1], self._dice.choice((1, 4, 9))
        if pod.main is None or not pod.main.is_alive:
            return ""
        pod.main.freeze()
        self._frozen.append(pod)
        self._later(seconds, lambda: self._thaw(pod))
        return f"{pod.main.name} stands still for {seconds} s"

    def part_the_network(self) -> str:
        """Cut the master and some workers off from all others; its pod is deleted by force, and another is made."""
        world, old = self._world, self._world.masters[-1]
        is_busy = old.is_gone or old.is_deleted or old.main is None or not old.main.is_alive or world.network.is_parted
        if is_busy or len(world.masters) >= 4:
            return ""
        island = [each for each in world.pods.values() if self._dice.random() < 0.5]
        world.laws.may_lose_ended = world.laws.has_two_masters = True
        world.laws.parted_at.append(world.loop.time())
        world.network.part(each.address for each in (old, *island))
        self._parted.append(old)
        self._later_even_if_healed(self._dice.choice((0.5, 3)), lambda: world.make_master(is_sole=False))
        return f"{old.name} is cut off with {[each.name for each in island]}, and another master is made"

    # Wishes.

    def want_another_load(self) -> str:
        if self._world.shape.iterations is not None:
            return ""
        self._world.ask(self._dice.randrange(1, 13))
        return "another load"

    def pause(self) -> str:
        self._world.ask(is_paused=not self._world.is_paused)
        return "a pause, or its end"

    # ---

    def _a_pod(self) -> Pod:
        number, pods = self._dice.randrange(self._world.workers_made), self._world.pods
        return pods[number] if number in pods else pods[min(pods)]

    def _connections(self) -> list[Connection]:
        """Return those that are made and not over."""
        return [each for each in self._world.network.connections if not each.is_over and each.server is not None]

    def _thaw(self, pod: Pod) -> None:
        for process in pod.processes:
            process.thaw()
        self._world.network.look()

    def _later(self, seconds: float, what: Callable[[], object]) -> None:
        def unless_healed() -> None:
            if not self.is_healed:
                what()

        self._world.network.after(seconds, unless_healed)

    def _later_even_if_healed(self, seconds: float, what: Callable[[], object]) -> None:
        self._world.network.after(seconds, what)
