"""Of a watch only what tells nothing but a new status is left out, told by its bytes."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadstone_operator.cluster.echoes import Echoes

MANAGED = [{"manager": "kubectl", "fieldsV1": {"f:metadata": {"f:annotations": {}}}}]


def line(kind: str = "MODIFIED", *, version: str = "7", status: Any = None, spec: Any = None, **metadata: Any) -> bytes:
    """Return an event as the API server writes it: keys in order, no spaces."""
    told = {
        "name": "checkout",
        "namespace": "shop",
        "uid": "u-1",
        "generation": 1,
        "resourceVersion": version,
        "managedFields": MANAGED,
        **metadata,
    }
    body = {"apiVersion": "loadstone.dev/v1alpha1", "kind": "LoadTest", "spec": spec or {}, "status": status or {}}
    written = json.dumps({**body, "metadata": told}, separators=(",", ":"), sort_keys=True)
    return f'{{"type":"{kind}","object":{written}}}'.encode()


def echoes_after(*lines: bytes) -> tuple[Echoes, list[tuple[str, str]]]:
    heard: list[tuple[str, str]] = []
    echoes = Echoes(lambda uid, version: heard.append((uid, version)))
    for each in lines:
        assert not echoes.is_echo(each)
    return echoes, heard


def test_a_new_status_is_left_out_and_its_version_is_told() -> None:
    echoes, heard = echoes_after(line())

    assert echoes.is_echo(line(version="8", status={"phase": "Running"}))
    assert echoes.is_echo(line(version="9", status={"phase": "Stopping"}))
    assert heard == [("u-1", "8"), ("u-1", "9")]


@pytest.mark.parametrize(
    "change",
    [
        {"generation": 2, "spec": {"suspend": True}},
        {"annotations": {"loadstone.dev/last-run": "x"}},
        {"labels": {"team": "shop"}},
        {"deletionTimestamp": "2026-11-21T00:00:00Z"},
        {"finalizers": ["foregroundDeletion"]},
        {"uid": "u-2"},
    ],
)
def test_whatever_else_has_changed_is_passed_on(change: dict[str, Any]) -> None:
    echoes, heard = echoes_after(line())

    assert not echoes.is_echo(line(version="8", **change))
    assert heard == []


def test_a_change_that_is_taken_back_is_passed_on_both_times() -> None:
    echoes_after(line(), line(version="8", labels={"a": "b"}), line(version="9"))


def test_the_first_event_after_a_creation_or_a_deletion_is_passed_on() -> None:
    echoes, _ = echoes_after(line("ADDED"), line(version="8"))

    assert echoes.is_echo(line(version="9"))
    assert not echoes.is_echo(line("DELETED", version="10"))
    assert not echoes.is_echo(line(version="11"))


def test_of_what_has_gone_while_nobody_watched_nothing_is_kept_after_the_next_list() -> None:
    echoes, heard = echoes_after(*(line(uid=f"u-{number}") for number in range(1000)))
    echoes.begin_anew()

    assert len(echoes._heads) == 0
    # The list may have shown a change that is taken back now.
    assert not echoes.is_echo(line(version="8", uid="u-1"))
    assert echoes.is_echo(line(version="9", uid="u-1"))
    assert heard == [("u-1", "9")]


@pytest.mark.parametrize(
    "odd",
    [
        b"",
        b"{}",
        b'{"type":"BOOKMARK","object":{"kind":"LoadTest","metadata":{"resourceVersion":"12"}}}',
        b'{"type":"ERROR","object":{"kind":"Status","code":410}}',
        b'{"type":"MODIFIED","object":{"metadata":{"managedFields":[],"name":"x"}}}',
    ],
)
def test_what_is_no_event_of_an_object_is_passed_on_every_time(odd: bytes) -> None:
    echoes_after(odd, odd, odd)


TEXTS = st.text(max_size=20) | st.sampled_from(
    ['","managedFields":[', '"resourceVersion":"8","uid":"u-1"', '{"type":"MODIFIED"', ',"managedFields":[]', "\\"]
)
FACTS = st.fixed_dictionaries(
    {},
    optional={
        "annotations": st.dictionaries(TEXTS, TEXTS, max_size=3),
        "labels": st.dictionaries(TEXTS, TEXTS, max_size=2),
        "generation": st.integers(1, 3),
    },
)


@given(FACTS, FACTS, TEXTS)
def test_an_event_is_an_echo_exactly_when_the_metadata_is_as_before(
    before: dict[str, Any], after: dict[str, Any], text: str
) -> None:
    echoes, heard = echoes_after(line(**before))
    is_same = {"generation": 1, **before} == {"generation": 1, **after}

    assert echoes.is_echo(line(version="8", status={"message": text}, spec={"text": text}, **after)) == is_same
    assert heard == ([("u-1", "8")] if is_same else [])
