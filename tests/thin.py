"""Networks of thin layers: all blocks, connections and output widths with a part of the arithmetic."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def thin() -> Iterator[None]:
    """Inside the blocks of ResNet-50 and DenseNet-161 are a quarter of the channels, whatever is built on
    these networks in this process."""
    from torchvision import models  # of which most tests have no use

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models, "resnet50", functools.partial(models.resnet50, width_per_group=16))
        patch.setattr(models, "densenet161", functools.partial(models.densenet161, bn_size=1))
        yield


@pytest.fixture(scope="module")
def thin_networks() -> Iterator[None]:
    """Such networks for the tests of a module."""
    with thin():
        yield
