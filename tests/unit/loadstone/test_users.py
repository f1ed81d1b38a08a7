import pytest

from loadstone import User, task


def test_tasks_come_in_order_of_definition_with_those_of_the_base_first() -> None:
    class Base(User):
        @task(3)
        def first(self) -> None: ...

        @task
        def second(self) -> None: ...

    class Derived(Base):
        @task(2)
        def third(self) -> None: ...

        def helper(self) -> None: ...

    assert [(each.name, each.weight) for each in Derived.tasks] == [("first", 3), ("second", 1), ("third", 2)]
    assert [each.name for each in Base.tasks] == ["first", "second"]


def test_an_overridden_task_is_what_the_subclass_made_of_it() -> None:
    class Base(User):
        @task
        def one(self) -> str:
            return "base"

        @task
        def two(self) -> str:
            return "base"

    class Derived(Base):
        @task(5)
        def one(self) -> str:
            return "derived"

        two = None  # type: ignore[assignment]

    assert [(each.name, each.weight, each.function(Derived())) for each in Derived.tasks] == [("one", 5, "derived")]


def test_a_task_of_weight_zero_is_switched_off() -> None:
    class Visitor(User):
        @task(0)
        def off(self) -> None: ...

        @task
        def on(self) -> None: ...

    assert [each.name for each in Visitor.tasks] == ["on"]


@pytest.mark.parametrize("weight", [-1, -100])
def test_a_weight_below_zero_is_refused_where_it_stands(weight) -> None:
    with pytest.raises(ValueError, match="whole number from 0 on"):
        task(weight)


def test_abstract_is_not_inherited() -> None:
    class Base(User):
        abstract = True

    class Derived(Base):
        pass

    assert (User.abstract, Base.abstract, Derived.abstract) == (True, True, False)


def test_a_user_that_stops_says_so_and_nobody_else_does() -> None:
    one, other = User(), User()

    one.stop()

    assert (one.is_stopping, other.is_stopping) == (True, False)
