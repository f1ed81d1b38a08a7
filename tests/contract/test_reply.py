"""A reply has the same slots in Python and in the compiled client, which makes it without calling its constructor."""

import re
from pathlib import Path

from loadstone import Reply

CLIENT = Path(__file__).parents[2] / "runner-image" / "loadstone_runner" / "engine" / "path" / "client.pxi"


def fields() -> dict[str, str]:
    """Return the compiled client's variables of a reply's slots, with the slots."""
    return dict(re.findall(r'^cdef object (\w+) = Reply\.__dict__\["(\w+)"\]$', CLIENT.read_text(), re.MULTILINE))


def test_the_compiled_client_knows_every_slot_of_a_reply_and_no_other() -> None:
    assert sorted(fields().values()) == sorted(Reply.__slots__)


def test_the_compiled_client_sets_each_of_them_once_in_every_reply() -> None:
    (body,) = re.findall(r"^cdef object _reply\(.*?(?=^\S)", CLIENT.read_text(), re.MULTILINE | re.DOTALL)

    assert sorted(re.findall(r"_set\((\w+), reply,", body)) == sorted(fields())
