from fractions import Fraction

import pytest

from loadstone_operator.manifests.resources import ENGINE, engines_for, quantity, resources_for
from loadstone_protocol.coordination import hello_from_message
from loadstone_protocol.v1 import coordination_pb2 as wire


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("250m", Fraction(1, 4)),
        ("1.5", Fraction(3, 2)),
        (2, Fraction(2)),
        ("2Gi", Fraction(2**31)),
        ("1k", Fraction(1000)),
        ("1e3", Fraction(1000)),
        ("5E", Fraction(5 * 10**18)),
    ],
)
def test_quantities_are_read_exactly(text: object, value: Fraction) -> None:
    assert quantity(text) == value


def test_no_quantity_is_an_error() -> None:
    with pytest.raises(ValueError, match="Invalid literal"):
        quantity("much")


@pytest.mark.parametrize(
    ("asked", "engines"),
    [
        (None, 1),
        ({"limits": {"cpu": "500m"}}, 1),
        ({"limits": {"cpu": "2500m"}}, 2),
        ({"requests": {"cpu": 4}}, 4),
        ({"requests": {"cpu": 4}, "limits": {"cpu": 2}}, 2),
        ({"limits": {"memory": "1Gi"}}, 1),
    ],
)
def test_each_whole_cpu_that_is_asked_for_runs_an_engine(asked: dict[str, object] | None, engines: int) -> None:
    assert engines_for(asked) == engines


@pytest.mark.parametrize("cpu", ["1023", "1024", "1920", "1k", "5E"])
def test_however_many_cpus_a_worker_has_its_master_takes_it_in(cpu: str) -> None:
    engines = engines_for({"limits": {"cpu": cpu}})
    hello = wire.Hello(peer=wire.Peer(run_uid="u/1", attempt=1, boot="b"), engines=engines)

    assert hello_from_message(wire.AgentMessage(hello=hello)).engines == engines >= min(1_000, quantity(cpu))


def test_without_a_wish_the_defaults_hold() -> None:
    assert resources_for(None, None) == ENGINE
    own = {"requests": {"cpu": "1"}, "limits": {"cpu": "3"}}
    assert resources_for({}, own) == own


def test_a_limit_alone_is_the_request_too() -> None:
    made = resources_for({"limits": {"memory": "1Gi"}}, None)

    assert made["requests"] == {"memory": "1Gi", "cpu": "50m"}
    assert made["limits"] == {"memory": "1Gi", "cpu": "2"}


def test_a_request_above_the_default_limit_raises_the_limit() -> None:
    made = resources_for({"requests": {"cpu": "100", "memory": "16Mi"}}, None)

    assert made["limits"] == {"cpu": "100", "memory": "512Mi"}


def test_what_contradicts_itself_is_left_for_the_api_server_to_refuse() -> None:
    asked = {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}

    assert resources_for(asked, None)["limits"]["cpu"] == "1"
    assert resources_for(asked, None)["requests"]["cpu"] == "2"
