from loadstone_protocol.version import PROTOCOL_MAJOR, PROTOCOL_MINOR, may_talk


def test_any_minor_version_of_the_same_major_one_is_understood() -> None:
    assert may_talk(PROTOCOL_MAJOR, PROTOCOL_MINOR) is None
    assert may_talk(PROTOCOL_MAJOR, PROTOCOL_MINOR + 7) is None


def test_another_major_version_is_refused_with_what_to_do() -> None:
    assert may_talk(PROTOCOL_MAJOR + 1, 0) == (
        "the peer speaks protocol 2.0, this side 1.0; use the same Loadstone version for operator, master and workers"
    )
