import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from loadstone import hooks
from loadstone_runner.engine.script import MODULE_NAME, Script, ScriptError, load_script


@pytest.fixture
def load(tmp_path: Path) -> Iterator[Callable[..., Script]]:
    path, modules = list(sys.path), set(sys.modules)
    hooks.forget()

    def write_and_load(content: str, entrypoint: str = "test.py", **others: str) -> Script:
        for name, text in {entrypoint: content, **{f"{name}.py": text for name, text in others.items()}}.items():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(textwrap.dedent(text))
        return load_script(str(tmp_path), entrypoint)

    yield write_and_load
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if name == MODULE_NAME or str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]
    hooks.forget()


def test_classes_are_found_in_order_also_those_that_another_file_defines(load) -> None:
    script = load(
        """
        from loadstone import User, setup, task, teardown
        from shop_users import Buyer, Base
        Alias = Buyer

        class Visitor(Base): ...

        class Untasked(User): ...

        @setup
        def prepare(run): ...

        @teardown
        def clean(run): ...
        """,
        shop_users="""
        from loadstone import User, task

        class Base(User):
            abstract = True
            @task
            def one(self): ...

        class Buyer(Base): ...
        """,
    )

    assert [each.__name__ for each in script.users] == ["Buyer", "Visitor"]
    assert (script.setup.__name__, script.teardown.__name__) == ("prepare", "clean")


def test_a_script_in_a_folder_finds_its_neighbours_and_the_files_at_the_top(load) -> None:
    script = load(
        """
        from loadstone import User, task
        import top_level_values

        class Visitor(User):
            @task
            def one(self): ...
        """,
        entrypoint="deep/test.py",
        top_level_values="answer = 42",
    )

    assert [each.__name__ for each in script.users] == ["Visitor"]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("from loadstone import User\nclass A(User): ...", "has nothing to run"),
        ("1 / 0", "ZeroDivisionError"),
        ("import nothing_there", "put nothing_there.py beside the script, or name an image that has the package"),
        ("from locust import HttpUser", "scripts here begin with `from loadstone import ...`"),
        ("def f(:", "test.py line 1: SyntaxError"),
        ("raise SystemExit('bye')", "calls sys.exit('bye')"),
        (
            "from loadstone import User, task\nclass A(User):\n    weight = -1\n    @task\n    def t(self): ...",
            "A.weight must be a whole number",
        ),
        (
            "from loadstone import User, task\nclass A(User):\n    weight = 0\n    @task\n    def t(self): ...",
            "no User class has a weight above 0",
        ),
    ],
)
def test_what_cannot_be_run_is_said_in_one_sentence(load, content, problem) -> None:
    with pytest.raises(ScriptError, match=problem.replace("(", r"\(").replace(")", r"\)")) as raised:
        load(content)

    assert "\n" not in str(raised.value)


def test_a_traceback_starts_in_the_users_own_file(load) -> None:
    with pytest.raises(ScriptError) as raised:
        load("from other_file import nothing", other_file="def fail():\n    raise KeyError('deep')\nfail()")

    assert "other_file.py" in raised.value.trace
    assert "KeyError: 'deep'" in raised.value.trace
    assert "loadstone_runner" not in raised.value.trace


@pytest.mark.parametrize(
    "content",
    ["raise ValueError('x' * 9_000_000)", "raise SystemExit('x' * 9_000_000)", "raise SyntaxError('x' * 9_000_000)"],
)
def test_however_much_a_script_says_as_it_fails_it_can_be_told(load, content) -> None:
    with pytest.raises(ScriptError) as raised:
        load(content)

    assert len(str(raised.value)) < 5_000
    assert len(raised.value.trace) < 5_000


def test_a_missing_or_unpythonic_entrypoint_is_named(load, tmp_path) -> None:
    with pytest.raises(ScriptError, match=r"there is no other\.py"):
        load_script(str(tmp_path), "other.py")
    with pytest.raises(ScriptError, match=r"must end in \.py"):
        load("x = 1", entrypoint="test.txt")
