"""Parts of the end-to-end cluster that need neither root nor a cluster: cgroups, cache keys, pip's settings."""

import importlib.util
import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.lacking import lacks

CLUSTER = Path(__file__).parents[1] / "e2e" / "cluster"
PARTS = CLUSTER / "parts"
ALL = "cpuset cpu io memory hugetlb pids"

pytestmark = pytest.mark.skipif(not shutil.which("bash"), reason="bash is missing")


def bash(part: str, script: str, *, check: bool = True, **variables: object) -> subprocess.CompletedProcess[str]:
    """Run `script` after sourcing one part, with the variables that the cluster script would have set."""
    settings = "\n".join(f"{name}={value}" for name, value in variables.items())
    prelude = 'set -euo pipefail; shopt -s inherit_errexit; say() { echo "$*" >&2; }; die() { say "$*"; exit 1; }'
    return subprocess.run(
        ["bash", "-c", f"{prelude}\n{settings}\n. {PARTS}/{part}.sh\n{script}"],
        capture_output=True,
        text=True,
        timeout=30,
        check=check,
    )


@pytest.fixture
def version_1(tmp_path: Path) -> Path:
    for tree in ("cpu", "cpuset", "memory", "pids"):
        (tmp_path / tree).mkdir()
    (tmp_path / "cpuset" / "cpuset.cpus").write_text("0-1\n")
    (tmp_path / "cpuset" / "cpuset.mems").write_text("0\n")
    return tmp_path


@pytest.fixture
def version_2(tmp_path: Path) -> Path:
    """Return the root of a tree in which the controllers have arrived in the node, as after the kernel's work."""
    for folder in (tmp_path, tmp_path / "lab" / "node0"):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "cgroup.controllers").write_text(ALL + "\n")
        (folder / "cgroup.procs").write_text("")
    (tmp_path / "lab" / "cgroup.controllers").write_text(ALL + "\n")
    return tmp_path


def test_version_1_makes_the_node_in_every_tree_with_a_usable_cpuset(version_1: Path) -> None:
    bash("cgroups", "cgroups_version; cgroups_add_node 0", CGROUPS=version_1, NAME="lab")

    assert all((version_1 / tree / "lab" / "node0").is_dir() for tree in ("cpu", "cpuset", "memory", "pids"))
    assert (version_1 / "cpuset" / "lab" / "node0" / "cpuset.cpus").read_text() == "0-1\n"
    assert (version_1 / "cpuset" / "lab" / "node0" / "cpuset.mems").read_text() == "0\n"


def test_version_1_finds_the_pids_of_a_node_and_of_no_other(version_1: Path) -> None:
    bash("cgroups", "cgroups_add_node 0; cgroups_add_node 1", CGROUPS=version_1, NAME="lab")
    pod = version_1 / "pids" / "lab" / "node0" / "kubepods"
    pod.mkdir()
    (pod / "cgroup.procs").write_text("41\n42\n")
    (version_1 / "pids" / "lab" / "node1" / "cgroup.procs").write_text("43\n")

    assert bash("cgroups", "cgroups_pids 0", CGROUPS=version_1, NAME="lab").stdout.split() == ["41", "42"]


def test_version_2_hands_every_controller_down_from_the_root_and_from_the_cluster(version_2: Path) -> None:
    log = version_2 / "log"
    recorder = f'cgroups_write() {{ echo "$1 ${{2#$CGROUPS}}" >>{log}; }}'

    bash("cgroups", f"{recorder}; cgroups_version; cgroups_add_node 0", CGROUPS=version_2, NAME="lab")

    wanted = [f"+{name} {place}" for place in ("/", "/lab/") for name in ALL.split()]
    assert log.read_text().replace("/cgroup.subtree_control", "/").splitlines() == wanted


def test_version_2_moves_the_processes_of_a_root_that_refuses_and_tries_again(version_2: Path) -> None:
    (version_2 / "cgroup.procs").write_text("7\n8\n")
    log = version_2 / "log"
    refusing = (
        f'cgroups_write() {{ echo "$1 ${{2#$CGROUPS}}" >>{log}; '
        f"[[ $1 != +* ]] || grep -q outside {log}; }}"  # the root takes controllers only once it is empty
    )

    bash("cgroups", f"{refusing}; cgroups_add_node 0", CGROUPS=version_2, NAME="lab")

    moved = [line for line in log.read_text().splitlines() if "outside" in line]
    assert moved == ["7 /outside-lab/cgroup.procs", "8 /outside-lab/cgroup.procs"]


def test_version_2_does_without_a_controller_that_pods_do_not_need(version_2: Path) -> None:
    refusing = "cgroups_write() { [[ $1 != +hugetlb ]]; }"

    bash("cgroups", f"{refusing}; cgroups_add_node 0", CGROUPS=version_2, NAME="lab")

    assert not (version_2 / "outside-lab").exists()


def test_version_2_names_the_controller_that_is_missing(version_2: Path) -> None:
    (version_2 / "lab" / "node0" / "cgroup.controllers").write_text("cpuset cpu pids\n")

    done = bash("cgroups", "cgroups_write() { :; }; cgroups_add_node 0", check=False, CGROUPS=version_2, NAME="lab")

    assert done.returncode == 1
    assert "the cgroup controller memory cannot be handed down" in done.stderr


def test_version_2_finds_the_pids_of_a_node(version_2: Path) -> None:
    (version_2 / "lab" / "node0" / "cgroup.procs").write_text("41\n")

    assert bash("cgroups", "cgroups_pids 0", CGROUPS=version_2, NAME="lab").stdout.split() == ["41"]


@pytest.fixture
def kernel_box() -> Iterator[tuple[Path, str]]:
    """Yield a cgroup of the kernel's own version 2 with a process in it, like a container's root, and a controller."""
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines() if line.split()[2] == "cgroup2"]
    controllers = Path(mounts[0], "cgroup.controllers").read_text().split() if mounts else []
    if os.geteuid() or not controllers:
        lacks("needs root, and a mounted cgroup v2 with a controller that version 1 has not taken")
    root, box = Path(mounts[0]), Path(mounts[0], f"loadstone-{uuid.uuid4().hex[:8]}")
    try:
        (root / "cgroup.subtree_control").write_text(f"+{controllers[0]}")
    except OSError as error:
        lacks(f"{root} does not hand its controllers down: {error}")
    box.mkdir()
    with subprocess.Popen(["sleep", "60"]) as sleeper:
        try:
            (box / "cgroup.procs").write_text(str(sleeper.pid))
            yield box, controllers[0]
        finally:
            (root / "cgroup.procs").write_text(str(sleeper.pid))
            sleeper.kill()
            for folder in sorted(filter(Path.is_dir, box.rglob("*")), reverse=True):
                folder.rmdir()
            box.rmdir()


def test_version_2_as_the_kernel_has_it_hands_down_from_a_root_with_processes_and_is_removed(
    kernel_box: tuple[Path, str],
) -> None:
    box, controller = kernel_box
    with pytest.raises(OSError, match="busy"):
        (box / "cgroup.subtree_control").write_text(f"+{controller}")

    script = f"NEEDED_CONTROLLERS=({controller}); cgroups_version; cgroups_add_node 0; cgroups_add_node 1"
    assert bash("cgroups", script, CGROUPS=box, NAME="lab").stdout.split() == ["2"]

    node = box / "lab" / "node1"
    assert controller in (node / "cgroup.controllers").read_text().split()
    assert (node / "cgroup.procs").read_text() == ""
    assert (box / "cgroup.procs").read_text() == ""
    (node / "kubepods").mkdir()
    bash("cgroups", "cgroups_remove", CGROUPS=box, NAME="lab")
    assert not (box / "lab").exists()


@pytest.mark.parametrize("version", [1, 2])
def test_the_pids_of_a_container_are_its_own_and_not_those_of_its_neighbours(tmp_path: Path, version: int) -> None:
    tree = tmp_path / "pids" if version == 1 else tmp_path
    pod = tree / "lab" / "node1" / "kubepods" / "burstable" / "pod7"
    for number, container in enumerate(("aaa", "bbb", "pause"), start=41):
        (pod / container).mkdir(parents=True)
        (pod / container / "cgroup.procs").write_text(f"{number}\n")
    if version == 2:
        (tmp_path / "cgroup.controllers").write_text(ALL)

    done = bash("cgroups", "cgroups_container_pids aaa bbb", CGROUPS=tmp_path, NAME="lab")

    assert done.stdout.split() == ["41", "42"]


@pytest.mark.parametrize("version", [1, 2])
def test_removing_leaves_nothing_of_the_cluster_and_everything_else(tmp_path: Path, version: int) -> None:
    trees = [tmp_path / "pids", tmp_path / "cpu"] if version == 1 else [tmp_path]
    for tree in trees:
        (tree / "lab" / "node0" / "kubepods").mkdir(parents=True)
        (tree / "system" / "lab-of-another").mkdir(parents=True)
    if version == 2:
        (tmp_path / "cgroup.controllers").write_text(ALL)

    bash("cgroups", "cgroups_remove", CGROUPS=tmp_path, NAME="lab")

    assert not any((tree / "lab").exists() for tree in trees)
    assert all((tree / "system" / "lab-of-another").exists() for tree in trees)


@pytest.mark.parametrize(
    ("tool", "file", "line"),
    [
        ("helm", "go.sum", "example.invalid/module v1.0.0 h1:changed=\n"),
        ("kube-router", "main.go", "// changed\n"),  # a program of our own
    ],
)
def test_a_changed_source_of_a_tool_builds_into_another_folder(tmp_path: Path, tool: str, file: str, line: str) -> None:
    shutil.copytree(CLUSTER / "tools", tmp_path / "tools")

    def folder() -> str:
        return bash("toolchain", f"tool_folder {tool}", HERE=tmp_path, CACHE="/cache", ROOT=tmp_path).stdout

    before = folder()
    with (tmp_path / "tools" / tool / file).open("a") as source:
        source.write(line)

    assert before.startswith(f"/cache/{tool}-")
    assert folder() != before


@pytest.mark.parametrize(
    ("wanted", "found", "enough"),
    [
        ("1.26.0", "go1.26.0", True),
        ("1.26.0", "go1.27.3", True),
        ("1.26.0", "go1.25.9", False),
        ("1.9", "go1.26.1", True),
    ],
)
def test_go_versions_are_compared_by_number(tmp_path: Path, wanted: str, found: str, *, enough: bool) -> None:
    done = bash("toolchain", f"at_least {wanted} {found}", check=False, HERE=CLUSTER, CACHE=tmp_path, ROOT=tmp_path)

    assert (done.returncode == 0) is enough


def test_pips_settings_keep_their_sections_and_variables_win(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("pip_settings", PARTS / "pip_settings.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    wheels = tmp_path / "wheels"
    wheels.mkdir()

    settings = module.effective(f":env:.timeout='5'\nglobal.timeout='60'\ninstall.find-links='{wheels}\\n/nowhere'\n")

    assert settings == {"global": {"timeout": "5"}, "install": {"find-links": f"{wheels}\n/nowhere"}}
    assert module.local_paths(settings) == [wheels]
