"""CPU time of what starts often: `import loadstone`, `loadstone --help`; launcher, agent and engine up to their work.

Bytecode is there, as in the images, beside the modules (a first run that is not counted writes it, into a folder of its
own) and in a bundle. An engine is measured from the start of an interpreter; in a pod it is forked from the launcher.
"""

import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from figures import Figure, publish, spread

RUNS = 9
ROLES = ("launcher", "agent", "engine")
# As `python -m loadstone_runner ROLE` does, and no further; taking an interpreter apart is not part of a start.
START = """
import gc, os, sys
gc.disable()
from loadstone_runner.__main__ import ROLES, Bundle
with Bundle(*sys.argv[1:]):
    ROLES[sys.argv[1]].load()
os._exit(0)
"""


def cpu_seconds(command: list[str], bytecode: str) -> float:
    """Return user and system time of `command`, children included, as the kernel accounts them."""
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": bytecode, "PYTHONDONTWRITEBYTECODE": ""}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Measure each command a few times; the first, which may write bytecode, does not count."""
    python = sys.executable
    bare = [python, "-c", "pass"]
    commands = {
        "python_cpu": bare,
        "import_loadstone_cpu": [python, "-c", "import loadstone"],
        "help_cpu": [python, "-m", "loadstone_cli", "--help"],
    }
    figures: list[Figure] = []
    medians = {}
    with tempfile.TemporaryDirectory() as bytecode:
        bundle = f"{bytecode}/bundle.bin"
        subprocess.run([python, "-m", "loadstone_runner.bundling", bundle], check=True)
        commands |= {f"{role}_start_cpu": [python, "-c", START, role, bundle] for role in ROLES}
        for name, command in commands.items():
            cpu_seconds(command, bytecode)
            found = spread(name, [cpu_seconds(command, bytecode) for _ in range(RUNS)], "s")
            medians[name] = found[0].value
            figures.extend(found)
    both = medians["agent_start_cpu"] + medians["engine_start_cpu"]
    publish("import", [*figures, Figure("agent_and_engine_start_cpu", round(both, 4), "s", RUNS)])


if __name__ == "__main__":
    main()
