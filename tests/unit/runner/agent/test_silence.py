from loadstone_runner.agent.silence import Silence

S = 1_000_000_000
LIMIT = 15 * S


def _looked(silence, moments):
    return [silence.exceeds(LIMIT, moment) for moment in moments]


def test_silence_is_what_lasts_longer_than_its_limit():
    silence = Silence()

    assert not any(_looked(silence, range(0, 16 * S, S // 10)[:151]))
    assert silence.exceeds(LIMIT, 15 * S + S // 10)


def test_a_word_ends_it():
    silence = Silence()
    _looked(silence, range(0, 15 * S, S // 10))
    silence.end()

    assert not any(_looked(silence, range(15 * S, 30 * S, S // 10)))


def test_what_this_process_slept_through_is_none():
    silence = Silence()
    _looked(silence, range(0, 10 * S, S // 10))

    assert not silence.exceeds(LIMIT, 500 * S)
    assert not any(_looked(silence, range(501 * S, 504 * S, S)))
