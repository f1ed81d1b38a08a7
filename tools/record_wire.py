"""Record every field, value and call of the wire in protocol/wire.txt: what is recorded is never removed or renumbered.

A contract test compares. Run by `make generate`; a change that takes something back is refused here, too.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.protobuf.descriptor import Descriptor, EnumDescriptor

ROOT: Final = Path(__file__).resolve().parent.parent
RECORD: Final = ROOT / "protocol" / "wire.txt"
FILES: Final = ("control", "coordination", "engine", "statistics")


def lines() -> Iterator[str]:
    """Yield a line for each thing that a peer may rely on."""
    for name in FILES:
        file = import_module(f"loadstone_protocol.v1.{name}_pb2").DESCRIPTOR
        for service in file.services_by_name.values():
            for method in service.methods:
                yield (
                    f"call {service.name}.{method.name} {_stream(method.client_streaming)}{method.input_type.name} "
                    f"{_stream(method.server_streaming)}{method.output_type.name}"
                )
        for enum in file.enum_types_by_name.values():
            yield from _values(enum)
        for message in file.message_types_by_name.values():
            yield from _fields(message)


def _fields(message: Descriptor) -> Iterator[str]:
    for field in message.fields:
        yield f"field {_path(message)} {field.number} {field.name} {_kind(field)}"
    for enum in message.enum_types:
        yield from _values(enum)
    for nested in message.nested_types:
        yield from _fields(nested)


def _values(enum: EnumDescriptor) -> Iterator[str]:
    for value in enum.values:
        yield f"value {_path(enum)} {value.number} {value.name}"


def _kind(field: Any) -> str:
    named = field.message_type or field.enum_type
    kind = _path(named) if named is not None else f"type-{field.type}"
    repeated = "repeated " if field.is_repeated else ""
    oneof = f" of {field.containing_oneof.name}" if field.containing_oneof is not None else ""
    return f"{repeated}{kind}{oneof}"


def _path(descriptor: Any) -> str:
    return str(descriptor.full_name).removeprefix("loadstone_protocol.v1.")


def _stream(streams: object) -> str:
    return "stream " if streams else ""


def main() -> None:
    """Write the record; SystemExit if something that was recorded is not there any more."""
    now = sorted(set(lines()))
    held = RECORD.read_text().splitlines() if RECORD.exists() else []
    if gone := sorted(set(held) - set(now)):
        sys.exit("record_wire: what older peers rely on is only added to; bring back:\n" + "\n".join(gone))
    RECORD.write_text("\n".join(now) + "\n")


if __name__ == "__main__":
    main()
