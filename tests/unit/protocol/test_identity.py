"""One process has one name, and no other text is read as it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadstone_protocol.identity import Identity, Pems, Role, parse, server_name

RUNS = st.from_regex(r"[0-9a-f-]{1,36}/[1-9][0-9]{0,9}", fullmatch=True)


@given(RUNS, st.sampled_from([Role.MASTER, Role.OPERATOR]), st.integers(0, 2**32 - 1))
def test_a_name_is_read_as_whom_it_was_written_for(run_uid: str, role: Role, index: int) -> None:
    for identity in (Identity(run_uid, role), Identity(run_uid, Role.WORKER, index)):
        assert parse(identity.uri) == identity


@given(st.text(max_size=60))
def test_whatever_is_read_as_a_name_is_written_like_that(text: str) -> None:
    for uri in (text, f"loadstone://{text}", f"loadstone://uid/1/worker{text}"):
        identity = parse(uri)
        assert identity is None or identity.uri == uri


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "loadstone://",
        "loadstone:///master",
        "uid/1/master",
        "https://uid/1/master",
        "loadstone://uid/1/worker",
        "loadstone://uid/1/worker/",
        "loadstone://uid/1/worker/01",
        "loadstone://uid/1/worker/-1",
        "loadstone://uid/1/worker/\N{ARABIC-INDIC DIGIT ONE}",
        "loadstone://uid/1/worker/1/2",
        "loadstone://uid/1/master/0",
        "loadstone://uid/1/operator/0",
        "loadstone://uid/1/director",
        "loadstone://uid/1/MASTER",
    ],
)
def test_what_is_no_name_names_nobody(uri: str) -> None:
    assert parse(uri) is None


@given(RUNS, RUNS)
def test_two_runs_have_two_masters(one: str, other: str) -> None:
    assert (server_name(one) == server_name(other)) is (one == other)
    assert all(len(label) <= 63 for label in server_name(one).split("."))


def test_a_key_is_in_no_text_that_is_made_of_it() -> None:
    own = Pems(b"authority", b"certificate", b"very secret")

    assert "secret" not in f"{own}{own!r}"
