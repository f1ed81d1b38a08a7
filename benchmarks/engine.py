"""Our engine beside wrk, hey, k6 and Locust in one run: generators on one core, nginx on another. `make bench-engine`.

`LINE_GENERATOR_rate`: requests a second that the target served.
`LINE_GENERATOR_per_cpu`: requests per CPU second of the generator's process; the start of it does not count.
`LINE_vs_GENERATOR`: ours against it, per CPU second.
What the lines are: engine/lines.py; what is compared beside requests: engine/{users,open_model,punctual,recording}.py.
"""

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent / "engine"), str(Path(__file__).resolve().parent)]

from figures import Figure, publish, show
from lines import LINES, Line, Readings
from measurement import Bench
from open_model import arrivals, yield_iterations
from ours import flavour
from peers import PEERS, Peer
from processes import Cores, choose_cores, end_on_signals, raise_file_limit
from punctual import statistics_under_tls
from recording import record_figures
from target import nginx_version, running_target
from users import memory_per_user, start_of_many

INTERRUPTED = 130
OTHERS = ("memory", "start", "statistics", "yield", "arrival", "record")


def main() -> int:
    """Fetch what is missing, measure, print and publish; return the exit code."""
    arguments = _arguments()
    end_on_signals()
    raise_file_limit()
    cores = choose_cores()
    began = time.monotonic()
    try:
        figures = list(_figures(arguments, cores))
    except KeyboardInterrupt:
        return INTERRUPTED
    _say(f"took {time.monotonic() - began:.0f} s")
    if arguments.quick or arguments.only or arguments.peers != list(PEERS):
        show(figures)
    else:
        publish("engine", figures, _versions({name: make() for name, make in PEERS.items()}))
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the main lines once, in less than two minutes")
    parser.add_argument("--rounds", type=int, help="how often each generator is measured (default: 3)")
    parser.add_argument("--window", type=float, default=1.5, help="seconds of each measurement (default: %(default)s)")
    parser.add_argument("--peers", type=_words, default=list(PEERS), help=f"some of {','.join(PEERS)}")
    names = [*(line.name + line.suffix for line in LINES), *OTHERS]
    parser.add_argument("--only", type=_words, default=[], help=f"some of {','.join(names)}")
    arguments = parser.parse_args()
    unknown = {*arguments.peers} - {*PEERS} | {*arguments.only} - {*names}
    if unknown:
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    return arguments


def _words(text: str) -> list[str]:
    return [word for word in text.split(",") if word]


def _figures(arguments: argparse.Namespace, cores: Cores) -> Iterator[Figure]:
    """Measure everything that was asked for."""
    peers = {name: PEERS[name]() for name in arguments.peers}
    runs = flavour()
    _say(f"our request path is {runs}; generators on core {cores.generator}, everything else on core {cores.target}")
    yield Figure("compiled", float(runs == "compiled"), "1: compiled, 0: pure Python", 1)
    with running_target(cores.target) as target:
        bench = Bench(target, cores, window=arguments.window, warm=0.5)
        lines = [line for line in LINES if _is_asked(arguments, line.name + line.suffix, in_short=line.quick)]
        rounds = arguments.rounds or (1 if arguments.quick else 3)
        yield from _lines(bench, lines, peers, rounds=rounds)
        yield from _others(bench, arguments)


def _lines(bench: Bench, lines: Sequence[Line], peers: dict[str, Peer], *, rounds: int) -> Iterator[Figure]:
    held = [Readings(line) for line in lines]
    for number in range(rounds if lines else 0):
        _say(f"round {number + 1} of {rounds}")
        for readings in held:
            readings.measure(bench, peers, is_reversed=bool(number % 2))
    for readings in held:
        yield from readings.figures()


def _others(bench: Bench, arguments: argparse.Namespace) -> Iterator[Figure]:
    seconds = 5 if arguments.quick else 10
    if _is_asked(arguments, "memory", in_short=True):
        _say("memory of 10,000 users")
        yield from memory_per_user(bench)
    if _is_asked(arguments, "start", in_short=False):
        _say("start of 20,000 users")
        yield from start_of_many(bench)
    if _is_asked(arguments, "statistics", in_short=False):
        _say("statistics while 1,000 HTTPS users start")
        yield from statistics_under_tls(bench)
    if _is_asked(arguments, "yield", in_short=True):
        _say("100,000 iterations/s that yield once")
        yield from yield_iterations(bench, seconds)
    if _is_asked(arguments, "arrival", in_short=True):
        _say("5,000 arrivals/s")
        yield from arrivals(bench, seconds)
    if _is_asked(arguments, "record", in_short=True):
        _say("recording one request")
        yield from record_figures(bench.cores)


def _is_asked(arguments: argparse.Namespace, name: str, *, in_short: bool) -> bool:
    if arguments.only:
        return name in arguments.only
    return in_short or not arguments.quick


def _versions(peers: dict[str, Peer]) -> dict[str, str]:
    return {"nginx": nginx_version(), **{name: peer.version for name, peer in peers.items()}}


def _say(text: str) -> None:
    print(f"bench-engine: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
