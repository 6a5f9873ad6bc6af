"""Fields of a protobuf message that its definition here does not have."""

from __future__ import annotations

from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet


def unknown_fields(message: Message) -> list[str]:
    """`NAME.NUMBER` of every field, also of inner messages, that is not known or has another type here."""
    name = message.DESCRIPTOR.name
    unknown = {f"{name}.{field.field_number}" for field in UnknownFieldSet(message)}
    for descriptor, value in message.ListFields():
        if descriptor.message_type is not None:
            for inner in value if descriptor.is_repeated else [value]:
                unknown.update(unknown_fields(inner))
    return sorted(unknown)
