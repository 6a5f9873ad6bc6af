"""What an item must meet: conditions over its fields, with exact and typed comparison.

A value that an item lacks is None. Numbers are one kind, as in JSON: 12 equals 12.0. Booleans are no
numbers, and text is compared character by character.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from typing import Any, Literal, get_args

Plain = str | int | float | bool | None
Column = Literal["camera", "identity", "captured_at", "enrolled_at"]
Operator = Literal["gt", "gte", "lt", "lte"]
COLUMNS: tuple[Column, ...] = get_args(Column)


@dataclasses.dataclass(frozen=True)
class AnyOf:
    """The value is one of these; None stands for none."""

    values: tuple[Plain, ...]

    @functools.cached_property
    def typed(self) -> frozenset[tuple[str, Plain]]:
        """The values with their kinds, since True equals 1 in Python."""
        return frozenset((kind(value), value) for value in self.values)

    def matches(self, value: Any) -> bool:
        """True for a value that meets the condition."""
        return (name := kind(value)) != "other" and (name, value) in self.typed


@dataclasses.dataclass(frozen=True)
class Bound:
    """The value is of the limit's kind and lies on this side of it; text is ordered by code points."""

    operator: Operator
    limit: str | int | float

    def matches(self, value: Any) -> bool:
        """True for a value that meets the condition."""
        if kind(value) != kind(self.limit):
            return False
        if self.operator == "gt":
            return value > self.limit
        if self.operator == "gte":
            return value >= self.limit
        return value < self.limit if self.operator == "lt" else value <= self.limit


@dataclasses.dataclass(frozen=True)
class Not:
    """Everything that does not meet the condition, also what has no value."""

    condition: Condition

    def matches(self, value: Any) -> bool:
        """True for a value that meets the condition."""
        return not self.condition.matches(value)


@dataclasses.dataclass(frozen=True)
class AllOf:
    """Every condition holds."""

    conditions: tuple[Condition, ...]

    def matches(self, value: Any) -> bool:
        """True for a value that meets the condition."""
        return all(condition.matches(value) for condition in self.conditions)


Condition = AnyOf | Bound | Not | AllOf


@dataclasses.dataclass(frozen=True)
class Lacks:
    """Metadata does not have the key at all, not even with null."""


@dataclasses.dataclass(frozen=True)
class ItemFilter:
    """Conditions on items; all of them must hold."""

    columns: tuple[tuple[Column, Condition], ...] = ()
    metadata: tuple[tuple[str, Condition | Lacks], ...] = ()

    @property
    def is_open(self) -> bool:
        """True when every item meets it."""
        return not self.columns and not self.metadata

    @property
    def only_camera(self) -> str | None:
        """The camera, where this is a filter on one camera and nothing else: the index answers that alone."""
        if len(self.columns) != 1 or self.metadata:
            return None
        name, condition = self.columns[0]
        if name != "camera" or not isinstance(condition, AnyOf) or len(condition.values) != 1:
            return None
        camera = condition.values[0]
        return camera if isinstance(camera, str) else None

    def metadata_matches(self, metadata: dict[str, Any]) -> bool:
        """True for metadata that meets every condition on it."""
        for key, condition in self.metadata:
            if isinstance(condition, Lacks):
                if key in metadata:
                    return False
            elif not condition.matches(metadata.get(key)):
                return False
        return True


def kind(value: Any) -> str:
    """The kind of a plain value; values of different kinds are never equal and have no order."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, (int, float)):
        return "number"
    return "text" if isinstance(value, str) else "other"


def contradict(conditions: Sequence[Condition]) -> bool:
    """True when no value can meet all of these conditions: nothing in a list meets the others, or a lower
    bound lies above an upper one."""
    flat = list(_flat(conditions))
    for condition in flat:
        if isinstance(condition, AnyOf):
            return not any(all(other.matches(value) for other in flat) for value in condition.values)
    limits = [condition for condition in flat if isinstance(condition, Bound)]
    if len({kind(bound.limit) for bound in limits}) > 1:
        return True
    low = [bound for bound in limits if bound.operator in ("gt", "gte")]
    high = [bound for bound in limits if bound.operator in ("lt", "lte")]
    return any(not _leave_room(lower, upper) for lower in low for upper in high)


def _leave_room(lower: Bound, upper: Bound) -> bool:
    """True when a value can lie between two bounds of one kind."""
    low: Any = lower.limit
    high: Any = upper.limit
    return low < high or (low == high and lower.operator == "gte" and upper.operator == "lte")


def _flat(conditions: Sequence[Condition]) -> Iterator[Condition]:
    for condition in conditions:
        if isinstance(condition, AllOf):
            yield from _flat(condition.conditions)
        else:
            yield condition
