from hypothesis import given
from hypothesis import strategies as st

from loadstone_operator import naming

names = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,50}[a-z0-9])?", fullmatch=True)
numbers = st.integers(min_value=1, max_value=10**6)


@given(names, numbers, st.integers(0, 4999), numbers)
def test_every_name_is_a_dns_label(test: str, run: int, index: int, attempt: int) -> None:
    for name in (
        naming.master_pod(test, run, epoch=attempt),
        naming.worker_pod(test, run, index=index, attempt=attempt),
        naming.service(test, run),
        naming.secret(test, run, uid="0123456789abcdef"),
        naming.report(test),
    ):
        assert len(name) <= 63
        assert name[0].isalnum()
        assert name[-1].isalnum()


@given(names, numbers)
def test_a_service_begins_with_a_letter(test: str, run: int) -> None:
    assert naming.service(test, run)[0].isalpha()


@given(names, st.sets(st.tuples(numbers, st.integers(0, 4999), numbers), min_size=2, max_size=20))
def test_different_workers_have_different_names(test: str, workers: set[tuple[int, int, int]]) -> None:
    pods = {naming.worker_pod(test, run, index=index, attempt=attempt) for run, index, attempt in workers}

    assert len(pods) == len(workers)


def test_names_are_readable_while_they_fit() -> None:
    assert naming.master_pod("checkout", 1, epoch=1) == "checkout-m-1-1"
    assert naming.worker_pod("checkout", 2, index=0, attempt=3) == "checkout-w-2-0-3"
    assert naming.service("checkout", 1) == "checkout-1"
    assert naming.service("5xx", 1) == "lt-5xx-1"
    assert naming.secret("checkout", 1, uid="0a1b2c3d-ffff") == "checkout-s-1-0a1b2c3d"


def test_an_event_has_one_name_for_one_story() -> None:
    told = naming.event("checkout", "uid", run=1, reason="RunStarted")

    assert told == naming.event("checkout", "uid", run=1, reason="RunStarted")
    assert told != naming.event("checkout", "uid", run=2, reason="RunStarted")
    assert told != naming.event("checkout", "other", run=1, reason="RunStarted")
