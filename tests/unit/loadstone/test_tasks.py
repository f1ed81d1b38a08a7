import pytest

from loadstone import InterruptTaskSet, SequentialTaskSet, TaskSet, User, constant_pacing, tag, task
from loadstone.tasks import tasks_of


def function(owner) -> None: ...


def names(cls: type) -> list[tuple[str, int]]:
    return [(each.name, each.weight) for each in tasks_of(cls)]


def test_listed_tasks_come_before_marked_ones_and_those_of_the_base_before_both() -> None:
    class Inner(TaskSet):
        tasks = [function]  # noqa: RUF012 as Locust users write it

    class Base(User):
        tasks = [function]  # noqa: RUF012 the same

    class Derived(Base):
        tasks = {Inner: 3, function: 2}  # noqa: RUF012 the same

        @task
        def own(self) -> None: ...

    assert names(Base) == [("function", 1)]
    assert names(Derived) == [("function", 1), ("Inner", 3), ("function", 2), ("own", 1)]
    assert tasks_of(Derived) == Derived.tasks


def test_an_inner_set_is_a_task_if_it_is_marked_and_its_subclass_is_not_by_that() -> None:
    class Shop(User):
        @task(2)
        class Basket(TaskSet):
            @task
            def add(self) -> None: ...

        class Other(Basket):
            pass

    assert names(Shop) == [("Basket", 2)]
    assert names(Shop.Other) == [("add", 1)]


def test_tags_add_up_whatever_the_order_of_the_decorators() -> None:
    class Shop(User):
        @tag("slow")
        @task
        @tag("checkout", "money")
        def pay(self) -> None: ...

    assert tasks_of(Shop)[0].tags == {"slow", "checkout", "money"}


@pytest.mark.parametrize("tags", [(), ("",), (function,)])
def test_a_tag_is_a_name(tags) -> None:
    with pytest.raises(ValueError, match="at least one name"):
        tag(*tags)


@pytest.mark.parametrize("tasks", [["name"], [3], {function: -1}, {function: 1.5}])
def test_what_is_no_task_is_refused_where_it_stands(tasks) -> None:
    with pytest.raises(ValueError, match=r"Shop\.tasks"):
        type("Shop", (User,), {"tasks": tasks})


def test_an_async_task_is_refused_as_nobody_would_await_it() -> None:
    async def pay(self) -> None: ...

    with pytest.raises(ValueError, match="pay is async"):
        task(pay)
    with pytest.raises(ValueError, match="pay is async"):
        type("Shop", (User,), {"tasks": [pay]})


def test_wait_time_is_another_name_for_wait() -> None:
    class Shop(User):
        wait_time = constant_pacing(3)

    class Own(TaskSet):
        def wait_time(self) -> float:
            return 7.0

    assert Shop.wait is Shop.wait_time
    assert Own.wait(Own(Shop())) == 7.0
    with pytest.raises(ValueError, match="another name for wait"):
        type("Both", (User,), {"wait": function, "wait_time": function})


def test_a_set_knows_its_parent_its_user_and_the_users_client() -> None:
    user = User()
    user.http = object()  # type: ignore[assignment]
    user.iteration, user.iteration_start_ns = 5, 6
    outer = TaskSet(user)
    inner = SequentialTaskSet(outer)

    assert (inner.parent, inner.user, outer.parent) == (outer, user, user)
    assert inner.http is inner.client is user.client is user.http
    assert (inner.iteration, inner.iteration_start_ns) == (5, 6)


def test_pacing_in_a_set_is_kept_with_the_user() -> None:
    user = User()
    user.iteration_start_ns = 1

    assert constant_pacing(1)(TaskSet(user)) == 0
    assert user.pace_ns == TaskSet(user).pace_ns > 1


@pytest.mark.parametrize("reschedule", [True, False])
def test_an_interrupt_says_whether_to_go_on_at_once(reschedule) -> None:
    with pytest.raises(InterruptTaskSet) as raised:
        TaskSet(User()).interrupt(reschedule)

    assert raised.value.reschedule is reschedule
