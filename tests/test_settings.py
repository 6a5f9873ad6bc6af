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
        ("decode_threads", 0),
        ("max_queued_crops", 0),
        ("max_images", 0),
        ("adapt_samples", 8),
        ("drain_s", -1),
    ],
)
def test_a_setting_that_cannot_work_is_refused_by_its_name(name: str, value: int) -> None:
    with pytest.raises(ValidationError, match=name):
        Settings(bundle=Path("b.resight"), **{name: value})  # type: ignore[arg-type]
