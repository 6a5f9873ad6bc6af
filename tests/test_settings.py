"""Settings that cannot work are refused at the start, by their names."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from server.settings import Settings


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", 65536),
        ("grpc_port", 65536),
        ("decode_threads", 0),
        ("max_queued_crops", 0),
        ("max_images", 0),
        ("adapt_samples", 8),
        ("drain_s", -1),
        ("max_grpc_calls_per_peer", 65),  # more than max_grpc_calls
    ],
)
def test_a_setting_that_cannot_work_is_refused_by_its_name(name: str, value: int) -> None:
    with pytest.raises(ValidationError, match=name):
        Settings.model_validate({"bundle": Path("b.resight"), name: value})


@pytest.mark.parametrize(
    ("limits", "per_peer"),
    [
        ({}, 48),
        ({"max_grpc_calls": 8}, 6),
        ({"max_grpc_calls": 1}, 1),
        ({"max_grpc_calls": 8, "max_grpc_calls_per_peer": 8}, 8),
        ({"max_grpc_calls": 8, "max_grpc_calls_per_peer": 0}, 0),
    ],
)
def test_one_address_leaves_a_quarter_of_the_grpc_calls_to_others(
    limits: dict[str, int], per_peer: int
) -> None:
    settings = Settings.model_validate({"bundle": Path("b.resight"), **limits})
    assert settings.grpc_calls_per_peer == per_peer
