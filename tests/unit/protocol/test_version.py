import pytest

from loadstone_core import __version__
from loadstone_protocol.version import PROTOCOL_MAJOR, PROTOCOL_MINOR, may_talk

promise = pytest.mark.promise


@promise("releases-talk")
def test_any_minor_version_of_the_same_major_one_is_understood() -> None:
    assert may_talk(PROTOCOL_MAJOR, PROTOCOL_MINOR) is None
    assert may_talk(PROTOCOL_MAJOR, PROTOCOL_MINOR + 7, "99.0.0") is None


@promise("releases-talk")
def test_a_peer_that_names_no_version_is_of_the_first() -> None:
    assert PROTOCOL_MAJOR == 1
    assert may_talk(0, 0) is None


@promise("releases-talk")
def test_another_major_version_is_refused_with_both_releases_and_what_to_do() -> None:
    assert may_talk(PROTOCOL_MAJOR + 1, 3, "2.4.0") == (
        f"the peer is Loadstone 2.4.0 and speaks protocol 2.3, this side is Loadstone {__version__} and speaks 1.0; "
        "use the same release for the operator and for spec.image, from which master and workers come"
    )
    assert may_talk(2, 0).startswith("the peer is another Loadstone and speaks")
    assert len(may_talk(2, 0, "x" * 10_000)) < 400
