"""The count of body bytes in memory, to the byte."""

import contextlib

import pytest

from server.errors import Overloaded
from server.inflight import Inflight


def test_as_many_bytes_as_the_limit_are_accepted_and_not_one_more() -> None:
    whole = Inflight(10)
    with whole.share() as one, whole.share() as other:
        one.add(6)
        other.add(4)
        assert whole.bytes == 10
        for share in (one, other):
            with pytest.raises(Overloaded):
                share.add(1)
        assert (one.bytes, other.bytes, whole.bytes) == (6, 4, 10)


def test_a_refusal_names_the_bytes_of_the_others_and_the_limit() -> None:
    whole = Inflight(10)
    with whole.share() as one, whole.share() as other:
        one.add(3)
        other.add(5)
        with pytest.raises(Overloaded, match=r"5 bytes of other requests .* at most 10 are accepted"):
            one.add(3)


def test_a_share_is_given_back_once_however_its_request_ends() -> None:
    whole = Inflight(10)
    with whole.share() as kept:
        kept.add(2)
        with contextlib.suppress(KeyError), whole.share() as failing:
            failing.add(8)
            raise KeyError
        assert whole.bytes == 2
        with whole.share() as released:
            released.add(8)
            released.release()
            assert (released.bytes, whole.bytes) == (0, 2)
        assert whole.bytes == 2
    assert whole.bytes == 0
