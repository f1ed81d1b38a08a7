import os

from loadstone_runner.launcher.cgroup import (
    UNKNOWN,
    Memory,
    Processor,
    processor_ns,
    resident_bytes,
    this_memory,
    this_processor,
)


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


def test_memory_that_can_be_taken_back_is_not_used(tmp_path):
    _write(tmp_path, "v2/memory.events", "oom_kill 0\n")
    _write(tmp_path, "v2/memory.current", "5000\n")
    _write(tmp_path, "v2/memory.stat", "anon 3000\ninactive_file 1500\n")
    _write(tmp_path, "v1/memory/memory.oom_control", "oom_kill 0\n")
    _write(tmp_path, "v1/memory/memory.usage_in_bytes", "7000\n")
    _write(tmp_path, "v1/memory/memory.stat", "inactive_file 1\ntotal_inactive_file 2000\n")

    assert Memory("0::/\n", str(tmp_path / "v2")).used_bytes() == 3_500
    assert Memory("4:memory:/\n", str(tmp_path / "v1")).used_bytes() == 5_000
    assert Memory("", str(tmp_path)).used_bytes() == UNKNOWN


def test_throttling_is_told_by_both_versions_in_nanoseconds(tmp_path):
    _write(tmp_path, "v2/cpu.stat", "usage_usec 9\nnr_throttled 4\nthrottled_usec 1500\n")
    _write(tmp_path, "v1/cpu,cpuacct/kubepods/cpu.stat", "nr_periods 9\nnr_throttled 4\nthrottled_time 2500\n")
    _write(tmp_path, "alone/cpu/cpu.stat", "throttled_time 3500\n")

    assert Processor("0::/\n", str(tmp_path / "v2")).throttled_ns() == 1_500_000
    assert Processor("7:cpu,cpuacct:/kubepods\n0::/\n", str(tmp_path / "v1")).throttled_ns() == 2_500
    assert Processor("1:cpu:/x\n", str(tmp_path / "alone")).throttled_ns() == 3_500
    assert Processor("0::/\n", str(tmp_path)).throttled_ns() == 0
    assert this_processor().throttled_ns() >= 0
