"""Training methods by name: each module holds one readable step."""

from __future__ import annotations

from training.methods.bot import BagOfTricks

METHODS = {"bot": BagOfTricks}
