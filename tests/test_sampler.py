"""The guarantees of the P x K sampler."""

from collections import Counter

import numpy as np
import pytest

from training.data.records import DatasetError
from training.data.sampler import DomainSampler, IdentitySampler


def test_every_batch_holds_p_identities_with_k_crops_each() -> None:
    labels = np.repeat(np.arange(30), np.random.default_rng(0).integers(1, 40, 30)).tolist()
    sampler = IdentitySampler(labels, [0] * len(labels), p=8, k=4, seed=1)
    batches = list(sampler.batches(3))
    assert len(batches) == len(sampler)
    for batch in batches:
        counts = Counter(labels[i] for i in batch)
        assert len(counts) == 8 and set(counts.values()) == {4}
    assert batches == list(sampler.batches(3)) != list(sampler.batches(4))


def test_a_domain_with_too_few_people_is_named() -> None:
    labels, domains = [0, 0, 1, 1, 2, 2, 3, 3, 4, 4], [0] * 6 + [1] * 4
    with pytest.raises(DatasetError, match="domain 1: a batch needs 3 identities, the data has 2"):
        DomainSampler(labels, [0] * 10, domains, p=3, k=2, seed=0)
