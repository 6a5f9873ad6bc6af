"""The guarantees of the P x K sampler."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from training.data.records import Dataset, DatasetError, Record
from training.data.sampler import DomainSampler, IdentitySampler
from training.data.samplers import KINDS, ShuffledSampler, UniformSampler, make_sampler
from training.data.selection import draw_people


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


def test_uniform_identities_come_once_an_epoch_with_positives_of_other_cameras() -> None:
    sizes = [1, 2, 9, 30, 4, 4]
    labels = [label for label, size in enumerate(sizes) for _ in range(size)]
    cameras = [0, 0, 1, *[i % 3 for i in range(9)], *[0] * 29, 1, 0, 0, 0, 0, 0, 1, 2, 3]
    sampler = UniformSampler(labels, cameras, p=2, k=3, seed=0)
    seen = Counter()
    for epoch in range(20):
        batches = list(sampler.batches(epoch))
        assert len(batches) == len(sampler) == 3
        people = [labels[batch[place]] for batch in batches for place in (0, 3)]
        assert sorted(people) == list(range(6))  # once each, whatever they have of crops
        for batch in batches:
            for anchor, *positives in (batch[:3], batch[3:]):
                seen[labels[anchor]] += 1
                assert {labels[i] for i in positives} == {labels[anchor]}
                elsewhere = {cameras[i] for i in positives} - {cameras[anchor]}
                alone = labels[anchor] in (0, 4)  # one crop, or one camera
                assert bool(elsewhere) != alone
                assert alone or cameras[anchor] not in {cameras[i] for i in positives}
    assert set(seen.values()) == {20}
    assert list(sampler.batches(1)) == list(sampler.batches(1)) != list(sampler.batches(2))


def test_identities_of_any_camera_give_any_of_their_crops_once_an_epoch() -> None:
    sizes = [1, 2, 9, 30]
    labels = [label for label, size in enumerate(sizes) for _ in range(size)]
    cameras = [0, 0, 1, *[0] * 8, 1, *[0] * 29, 1]
    sampler = make_sampler("identities-any-camera", 0, (labels, cameras, labels), (2, 3, 0), per_domain=False)
    drawn: Counter[int] = Counter()
    for epoch in range(200):
        batches = list(sampler.batches(epoch))
        groups = [batch[place : place + 3] for batch in batches for place in (0, 3)]
        assert sorted(labels[group[0]] for group in groups) == [0, 1, 2, 3]
        for group in groups:
            assert len({labels[i] for i in group}) == 1
            assert len(set(group)) == 3 or sizes[labels[group[0]]] < 3
            drawn.update(group)
    # 3 of 30 crops in each of 200 epochs: the one of camera 1 as often as the others
    assert 10 <= drawn[len(labels) - 1] <= 32


def test_shuffled_batches_hold_every_crop_once() -> None:
    sampler = ShuffledSampler([0] * 23, [0] * 23, p=5, k=1, seed=0)
    drawn = [i for batch in sampler.batches(1) for i in batch]
    assert len(drawn) == len(set(drawn)) == 20 and drawn != sorted(drawn)
    with pytest.raises(DatasetError, match="a batch needs 24 crops, the data has 23"):
        ShuffledSampler([0] * 23, [0] * 23, p=6, k=4, seed=0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("per_domain", [False, True])
def test_an_epoch_has_as_many_steps_as_the_recipe_says(kind: str, per_domain: bool) -> None:
    labels, domains = [i // 4 for i in range(80)], [i // 40 for i in range(80)]
    records = (labels, [i % 4 for i in range(80)], domains)
    for steps in (1, 7):
        sampler = make_sampler(kind, steps, records, (2, 2, 0), per_domain)
        first, second = list(sampler.batches(1)), list(sampler.batches(2))
        assert len(sampler) == len(first) == len(second) == steps and first != second
        assert all(len(batch) == (8 if per_domain else 4) for batch in first)


def test_a_pass_that_an_epoch_cuts_off_goes_on_in_the_next_epoch() -> None:
    # 14 and 7 batches of 2 people a pass; after 3 and 6 epochs of 7 steps everyone has had the same turns
    labels, domains = [i // 4 for i in range(168)], [i // 112 for i in range(168)]
    sampler = make_sampler("identities", 7, (labels, [i % 4 for i in range(168)], domains), (2, 4, 0), True)
    epochs = [[labels[i] for batch in sampler.batches(e) for i in batch] for e in range(1, 7)]
    second_domain = Counter(label for epoch in epochs[:1] for label in epoch if label >= 28)
    assert second_domain == dict.fromkeys(range(28, 42), 4)  # a whole pass in each epoch
    first_domain = Counter(label for epoch in epochs[1:5] for label in epoch if label < 28)
    assert first_domain == dict.fromkeys(range(28), 8)  # two whole passes in four epochs


def test_drawn_identities_are_equally_many_of_each_domain() -> None:
    train = [
        Record(Path(f"{d}-{p}-{i}"), p, 0, d)
        for d, n in enumerate((40, 40, 5))
        for p in range(n)
        for i in "ab"
    ]
    data = Dataset("joined", train, [], [])
    assert draw_people(data, 50, 0).identities() == [23, 22, 5]
    assert draw_people(data, 12, 0).identities() == [4, 4, 4]
    assert draw_people(data, 0, 0) is data
    drawn = {r.pid for r in draw_people(data, 12, 0).train}
    assert drawn != {r.pid for r in draw_people(data, 12, 1).train}
    with pytest.raises(DatasetError, match="has 85 identities, not the 100"):
        draw_people(data, 100, 0)
