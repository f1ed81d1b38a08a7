from collections import Counter

import pytest

from loadstone import SequentialTaskSet, StopUser, TaskSet, User, constant, tag, task
from loadstone.flow import InterruptTaskSet
from loadstone_runner.engine.tasks import make_chooser, obey, repertoire_of, select


class Life:
    """What a user does, without an engine: chosen tasks are called, and what they raise is obeyed."""

    def __init__(self, made: type[User]) -> None:
        self.user = made()
        self.user.http = self  # type: ignore[assignment]
        self.story: list[str] = []
        self.errors: list[str] = []
        made.story = self.story  # type: ignore[attr-defined]
        self.chooser = make_chooser(repertoire_of(made), self.user, self.guard)

    def guard(self, function, what: str) -> bool:
        try:
            function()
        except Exception:  # noqa: BLE001 what a script raises
            self.errors.append(what)
            return False
        return True

    def iterate(self, times: int = 1) -> "Life":
        for _ in range(times):
            name, function, owner = self.chooser.next()
            try:
                function(owner)
            except (StopUser, InterruptTaskSet) as told:
                if not obey(told, self.user, self.chooser):
                    self.errors.append(name)
            except Exception:  # noqa: BLE001 the same
                self.errors.append(name)
            self.story.append(name)
        return self


def told(word: str, *, leaves: bool = False, raises: type[BaseException] | None = None):
    """Return a method that says its word."""

    def method(self) -> None:
        getattr(self, "user", self).story.append(word)
        if leaves:
            self.interrupt()
        if raises is not None:
            raise raises

    method.__name__ = word
    return method


def test_weights_decide_how_often_a_task_is_chosen() -> None:
    class Shop(User):
        tasks = {told("often"): 9, told("seldom"): 1}  # noqa: RUF012 as Locust users write it

    counts = Counter(Life(Shop).iterate(2_000).story)

    assert 60 < counts["seldom"] < 400
    assert counts["often"] + counts["seldom"] == 2_000
    assert counts["Shop.often"] == counts["often"]


@pytest.mark.promise("script-tasks")
def test_a_sequence_keeps_its_order_and_repeats_by_weight() -> None:
    class Steps(SequentialTaskSet):
        first = task(told("first"))
        second = task(2)(told("second"))
        last = task(told("last", leaves=True))

    class Shop(User):
        tasks = [Steps]  # noqa: RUF012 as Locust users write it

    story = Life(Shop).iterate(6).story

    assert [word for word in story if "." not in word] == ["first", "second", "second", "last", "first", "second"]


@pytest.mark.promise("script-tasks")
def test_sets_are_entered_and_left_from_the_outside_in_and_back() -> None:
    class Inner(TaskSet):
        on_start = told("start inner")
        on_stop = told("stop inner")
        deep = task(told("deep", leaves=True))

    class Outer(SequentialTaskSet):
        on_start = told("start outer")
        on_stop = told("stop outer")
        tasks = [Inner, told("out", leaves=True)]  # noqa: RUF012 as Locust users write it

    class Shop(User):
        tasks = [Outer]  # noqa: RUF012 the same

    life = Life(Shop).iterate(3)
    life.chooser.unwind()

    assert life.story == [
        "start outer", "start inner", "deep", "stop inner", "Shop.Outer.Inner.deep",
        "out", "stop outer", "Shop.Outer.out",
        "start outer", "start inner", "deep", "stop inner", "Shop.Outer.Inner.deep",
        "stop outer",
    ]  # fmt: skip
    assert not life.errors


def test_each_visit_is_a_new_object_whose_parent_is_the_one_around_it() -> None:
    seen = []

    class Inner(TaskSet):
        @task
        def look(self) -> None:
            seen.append((self, self.parent, self.user))
            self.interrupt()

    class Outer(TaskSet):
        tasks = [Inner]  # noqa: RUF012 as Locust users write it

    class Shop(User):
        tasks = [Outer]  # noqa: RUF012 the same

    life = Life(Shop).iterate(2)

    (first, outer, user), (second, same, _) = seen
    assert first is not second
    assert outer is same
    assert (outer.parent, user) == (life.user, life.user)


def test_a_set_whose_start_raises_is_not_entered_and_its_iteration_fails() -> None:
    class Broken(TaskSet):
        on_start = told("start", raises=KeyError)
        on_stop = told("stop")
        never = task(told("never"))

    class Shop(User):
        tasks = [Broken]  # noqa: RUF012 as Locust users write it

    life = Life(Shop).iterate(2)
    life.chooser.unwind()

    assert life.errors == ["Shop.Broken.never"] * 2
    assert life.story == ["start", "Shop.Broken.never"] * 2


def test_a_set_may_leave_in_its_start() -> None:
    class Shy(TaskSet):
        on_start = told("start", leaves=True)
        on_stop = told("stop")
        never = task(told("never"))

    class Shop(User):
        tasks = [Shy]  # noqa: RUF012 as Locust users write it

    life = Life(Shop).iterate()

    assert life.story == ["start", "stop", "Shop.Shy.never"]
    assert not life.errors


def test_what_a_sets_stop_raises_is_told_by_name_and_leaves_it_all_the_same() -> None:
    class Set(TaskSet):
        on_stop = told("stop", raises=KeyError)
        leave = task(told("leave", leaves=True))

    class Shop(User):
        tasks = [Set]  # noqa: RUF012 as Locust users write it

    assert Life(Shop).iterate(2).errors == ["Shop.Set.on_stop"] * 2


def test_an_interrupt_outside_of_a_set_is_an_error_and_a_stop_is_none() -> None:
    class Shop(User):
        wrong = task(told("wrong", raises=InterruptTaskSet))

    class Leaver(User):
        leave = task(told("leave", raises=StopUser))

    life = Life(Leaver).iterate()

    assert Life(Shop).iterate().errors == ["Shop.wrong"]
    assert life.user.is_stopping
    assert not life.errors


def test_the_innermost_wait_counts_and_an_interrupt_skips_one_unless_it_says_otherwise() -> None:
    class Inner(TaskSet):
        wait = constant(2)

        @task
        def leave(self) -> None:
            self.interrupt(reschedule=self.user.skips)

    class Middle(TaskSet):
        tasks = [Inner]  # noqa: RUF012 as Locust users write it

    class Shop(User):
        wait = constant(1)
        skips = True
        tasks = [Middle]  # noqa: RUF012 the same

    class Flat(User):
        wait = constant(3)
        one = task(told("one"))

    life = Life(Shop)
    pauses = []
    for skips in (True, False):
        life.user.skips = skips
        life.iterate()
        pauses.append(life.chooser.pause())
    name, *_ = life.chooser.next()

    assert (pauses, name) == ([0, 1], "Shop.Middle.Inner.leave")
    assert Life(Flat).chooser.pause() == 3


class Tagged(User):
    plain = task(told("plain"))
    slow = task(tag("slow")(told("slow")))

    @tag("checkout")
    @task
    class Pay(TaskSet):
        card = task(tag("slow")(told("card")))
        bill = task(told("bill"))

    @task
    class Rest(TaskSet):
        sleep = task(told("sleep"))


def leaves(repertoire) -> set[str]:
    if repertoire is None:
        return set()
    return {
        name
        for piece in repertoire.pieces
        for name in (leaves(piece.inner) if piece.inner is not None else {piece.name.removeprefix("Tagged.")})
    }


@pytest.mark.promise("script-tags")
@pytest.mark.parametrize(
    ("include", "exclude", "left"),
    [
        ((), (), {"plain", "slow", "Pay.card", "Pay.bill", "Rest.sleep"}),
        (("slow",), (), {"slow", "Pay.card"}),
        (("checkout",), (), {"Pay.card", "Pay.bill"}),
        (("checkout",), ("slow",), {"Pay.bill"}),
        ((), ("checkout",), {"plain", "slow", "Rest.sleep"}),
        (("checkout", "slow"), (), {"slow", "Pay.card", "Pay.bill"}),
    ],
)
def test_tags_choose_tasks_those_of_a_set_for_all_in_it(include, exclude, left) -> None:
    assert leaves(select([Tagged], include, exclude)[0]) == left
    assert len(leaves(repertoire_of(Tagged))) == 5, "the class itself stays as it is"


def test_a_class_that_nothing_is_left_of_is_left_out() -> None:
    class Other(User):
        one = task(told("one"))

    assert [each.name for each in select([Other, Tagged], ["checkout"])] == ["Tagged"]
    assert select([Other], ["nowhere"]) == ()


def test_a_set_that_contains_itself_is_refused() -> None:
    class Loop(TaskSet):
        one = task(told("one"))

    class Again(TaskSet):
        tasks = [Loop]  # noqa: RUF012 as Locust users write it

    Loop._loadstone_listed = Again._loadstone_listed  # type: ignore[attr-defined]
    shop = type("Shop", (User,), {"tasks": [Loop]})

    with pytest.raises(ValueError, match="nested more than 20 deep"):
        repertoire_of(shop)


def test_a_class_without_tasks_has_no_repertoire() -> None:
    class Empty(User):
        pass

    with pytest.raises(ValueError, match="Empty has no tasks"):
        repertoire_of(Empty)
