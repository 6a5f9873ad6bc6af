"""An enroll that may leave bad images out, repeated under its key."""

import asyncio
import dataclasses
from collections.abc import Iterator

import pytest

from server.enroll import Enrolled
from server.errors import Conflict
from server.gallery.records import NewItem
from server.service import Service
from tests.tiny import make_tiny_bundle, open_tiny, picture


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service without items."""
    folder = tmp_path_factory.mktemp("partial")
    opened = open_tiny(make_tiny_bundle(folder), folder / "data")
    yield opened
    opened.close()


def enroll(service: Service, images: list[bytes], key: str, partial: bool) -> Enrolled:
    """An enroll of these images under a key."""
    records = [NewItem()] * len(images)
    return asyncio.run(service.enrolling.enroll("lobby", images, records, key, partial))


def test_what_partial_left_out_is_no_success_for_a_request_of_all_or_nothing(service: Service) -> None:
    images = [picture(0), b"no image", picture(1)]
    first = enroll(service, images, "half", True)
    assert [error["index"] for error in first.errors] == [1]
    with pytest.raises(Conflict, match="used with partial, and image 1 was not stored then; repeat it with"):
        enroll(service, images, "half", False)
    assert enroll(service, images, "half", True) == dataclasses.replace(first, enrolled_before=True)


def test_a_request_that_stored_every_image_is_answered_with_partial_and_without(service: Service) -> None:
    first = enroll(service, [picture(2)], "whole", True)
    assert enroll(service, [picture(2)], "whole", False) == dataclasses.replace(first, enrolled_before=True)
