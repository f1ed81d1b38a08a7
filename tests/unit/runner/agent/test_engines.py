import pytest

from loadstone_protocol.messages import EngineStage
from loadstone_runner.agent.effects import EngineStatus, ProcessEnd
from loadstone_runner.agent.engines import Engines


def test_the_newest_start_of_an_engine_counts_whichever_was_heard_of_first():
    engines = Engines(2)
    engines.get(1, 2)
    engines.get(1, 1)
    engines.get(0, 1)

    assert [(view.engine, view.start) for view in engines.current()] == [(0, 1), (1, 2)]


def test_an_engine_that_has_not_come_yet_counts_as_living():
    engines = Engines(3)
    engines.get(1, 1).process_end = ProcessEnd()

    assert engines.living() == [0, 2]


def test_all_have_ended_only_when_every_end_of_every_start_is_known():
    engines = Engines(1)
    assert not engines.have_ended()
    engines.get(0, 1)
    assert not engines.have_ended()


def test_a_change_of_stage_or_revision_is_news_and_users_are_not():
    engines = Engines(1)
    view = engines.get(0, 1)
    status = EngineStatus(stage=EngineStage.READY, users=0, applied_revision=3, is_starving=False)

    assert engines.hear(view, status)
    assert not engines.hear(view, status._replace(users=9))
    assert view.users == 9
    assert engines.hear(view, status._replace(applied_revision=4))


@pytest.mark.parametrize(("engine", "start"), [(-1, 1), (2, 1), (0, 0), (0, -1), (0, 2**32)])
def test_an_engine_that_cannot_be_is_none_of_this_worker(engine, start):
    assert not Engines(2).accepts(engine, start)
