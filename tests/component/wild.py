"""Messages that nobody means: fields of any type filled at random, and bytes that were a message. No test is here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message_factory import GetMessageClass

if TYPE_CHECKING:
    import random
    from collections.abc import Set as AbstractSet

    from google.protobuf.descriptor import Descriptor
    from google.protobuf.message import Message

DEEPEST = 6
MOST_OF_A_KIND = 4
OF_SIZE = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}


def wild(
    kind: Descriptor, chance: random.Random, *, without: AbstractSet[str] = frozenset(), depth: int = 0
) -> Message:
    """Return a message of this type that can be parsed and says nonsense; fields named in `without` stay empty."""
    message = GetMessageClass(kind)()
    for field in kind.fields:
        if field.name in without or chance.random() < 0.4 or depth > DEEPEST:
            continue
        for _ in range(chance.randrange(MOST_OF_A_KIND) if field.is_repeated else 1):
            _fill(message, field, chance, without=without, depth=depth)
    return message


def _fill(
    message: Message, field: FieldDescriptor, chance: random.Random, *, without: AbstractSet[str], depth: int
) -> None:
    kind = field.message_type
    if kind is not None and kind.GetOptions().map_entry:
        values = kind.fields_by_name["value"]
        if values.message_type is None:
            getattr(message, field.name)[_value(kind.fields_by_name["key"], chance)] = _value(values, chance)
    elif kind is not None:
        filled = wild(kind, chance, without=without, depth=depth + 1)
        own = getattr(message, field.name)
        (own.append if field.is_repeated else own.CopyFrom)(filled)
    elif field.is_repeated:
        getattr(message, field.name).append(_value(field, chance))
    else:
        setattr(message, field.name, _value(field, chance))


def _value(field: FieldDescriptor, chance: random.Random) -> Any:
    if field.cpp_type in OF_SIZE:
        least, most = OF_SIZE[field.cpp_type]
        return chance.choice((0, 1, 2, least, most, chance.randint(least, most)))
    match field.cpp_type:
        case FieldDescriptor.CPPTYPE_BOOL:
            return chance.random() < 0.5
        case FieldDescriptor.CPPTYPE_ENUM:
            return chance.choice(field.enum_type.values).number
        case FieldDescriptor.CPPTYPE_STRING if field.type == FieldDescriptor.TYPE_STRING:
            return chance.choice(("", "default", "x" * 70_000, "\0\n\ud7ff", "{}"))
        case FieldDescriptor.CPPTYPE_DOUBLE | FieldDescriptor.CPPTYPE_FLOAT:
            return chance.choice((0.0, -1.0, 1e300, float("inf"), float("nan")))
    return chance.choice((b"", b"{", chance.randbytes(40), chance.randbytes(5_000)))


def spoiled(content: bytes, chance: random.Random) -> bytes:
    """Return bytes of which a few have become others, or the rest is missing."""
    changed = bytearray(content)
    for _ in range(chance.randrange(4)):
        if changed:
            changed[chance.randrange(len(changed))] = chance.randrange(256)
    return bytes(changed[: chance.choice((len(changed), chance.randrange(len(changed) + 1)))])
