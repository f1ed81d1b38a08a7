from loadstone_runner.engine.vitals import resident_bytes


def test_a_process_has_memory() -> None:
    assert 1_000_000 < resident_bytes() < 10**11
