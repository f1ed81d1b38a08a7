import os

from loadstone_runner.launcher.cgroup import UNKNOWN, Memory, processor_ns, resident_bytes, this_memory


def _write(root, path, content):
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content)


def test_version_2_in_a_container_is_at_the_root_of_what_is_seen(tmp_path):
    _write(tmp_path, "memory.events", "low 0\noom 3\noom_kill 2\noom_group_kill 0\n")
    _write(tmp_path, "memory.max", "536870912\n")
    memory = Memory("0::/\n", str(tmp_path))

    assert memory.out_of_memory_kills() == 2
    assert memory.limit_bytes() == 536_870_912


def test_version_2_on_a_host_is_where_the_process_is(tmp_path):
    _write(tmp_path, "memory.events", "oom_kill 99\n")
    _write(tmp_path, "user/app/memory.events", "oom_kill 1\n")
    _write(tmp_path, "user/app/memory.max", "max\n")
    memory = Memory("0::/user/app\n", str(tmp_path))

    assert memory.out_of_memory_kills() == 1
    assert memory.limit_bytes() == UNKNOWN


def test_version_1_has_a_tree_for_memory(tmp_path):
    _write(tmp_path, "memory/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 4\n")
    _write(tmp_path, "memory/memory.limit_in_bytes", "1048576\n")
    memory = Memory("9:cpu,cpuacct:/x\n4:memory:/kubepods/pod1\n0::/\n", str(tmp_path))

    assert memory.out_of_memory_kills() == 4
    assert memory.limit_bytes() == 1_048_576


def test_version_1_without_a_limit_has_a_number_near_infinity(tmp_path):
    _write(tmp_path, "memory/memory.oom_control", "under_oom 0\n")
    _write(tmp_path, "memory/memory.limit_in_bytes", "9223372036854771712\n")
    memory = Memory("4:memory:/\n", str(tmp_path))

    assert memory.out_of_memory_kills() == 0
    assert memory.limit_bytes() == UNKNOWN


def test_a_machine_without_cgroups_knows_nothing(tmp_path):
    memory = Memory("", str(tmp_path))

    assert memory.out_of_memory_kills() == 0
    assert memory.limit_bytes() == UNKNOWN


def test_this_process_has_used_time_and_memory():
    assert processor_ns(os.getpid()) > 0
    assert resident_bytes(os.getpid()) > 1_000_000
    assert this_memory().out_of_memory_kills() >= 0


def test_a_process_that_is_gone_uses_nothing():
    assert processor_ns(2**30) == 0
    assert resident_bytes(2**30) == 0
