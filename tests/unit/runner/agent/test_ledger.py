from hypothesis import given
from hypothesis import strategies as st

from loadstone_runner.agent.ledger import Ledger, Piece

pieces = st.lists(
    st.dictionaries(st.sampled_from([b"a", b"b", b"c", b"d"]), st.binary(min_size=1, max_size=4)),
    min_size=1,
    max_size=8,
)


@given(pieces)
def test_the_whole_state_is_the_newest_of_every_series(changes):
    ledger = Ledger()
    newest = {}
    for sequence, series in enumerate(changes, start=1):
        assert ledger.put(Piece(sequence, b"head%d" % sequence, series))
        newest.update(series)

    assert ledger.sequence == len(changes)
    assert ledger.whole() == b"head%d" % len(changes) + b"".join(newest.values())


def test_a_state_that_is_not_newer_changes_nothing():
    ledger = Ledger()
    ledger.put(Piece(5, b"five", {b"a": b"A"}))

    assert not ledger.put(Piece(5, b"other", {b"a": b"B"}))
    assert not ledger.put(Piece(4, b"four", {b"b": b"B"}))
    assert ledger.whole() == b"fiveA"
