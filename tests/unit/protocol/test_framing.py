from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadstone_protocol.framing import FRAME_MAX_BYTES, Decoder, FrameError, encode


@given(st.lists(st.binary(max_size=300)), st.lists(st.integers(min_value=1, max_value=50), min_size=1))
def test_payloads_come_out_whole_and_in_order_however_the_stream_is_cut(payloads: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(map(encode, payloads))
    decoder, got, at, turn = Decoder(), [], 0, 0
    while at < len(stream):
        size = cuts[turn % len(cuts)]
        got += decoder.feed(stream[at : at + size])
        at, turn = at + size, turn + 1

    assert got == payloads
    assert decoder.is_between_frames


def test_a_stream_that_ends_within_a_frame_is_known() -> None:
    decoder = Decoder()

    assert decoder.feed(encode(b"whole") + encode(b"cut")[:-1]) == [b"whole"]
    assert not decoder.is_between_frames


def test_a_frame_that_is_too_long_is_refused_at_both_ends() -> None:
    with pytest.raises(FrameError, match="at most"):
        Decoder().feed((FRAME_MAX_BYTES + 1).to_bytes(4, "big"))
    with pytest.raises(FrameError, match="longer than"):
        encode(bytes(FRAME_MAX_BYTES + 1))
    assert Decoder().feed(encode(bytes(FRAME_MAX_BYTES))) == [bytes(FRAME_MAX_BYTES)]
