"""How many connections there may be, exactly: which one makes room, and which one is refused."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any, cast

import pytest

from server.errors import Overloaded
from server.http.connection import Connection
from server.http.connections import Connections
from server.http.lingering import LINGER_BYTES, LINGER_S, LingeringTransport


@dataclasses.dataclass(eq=False)
class Stub:
    """What `Connections` looks at of a connection; it is its own transport."""

    peer: str
    is_idle: bool = False
    aborted: bool = False

    @property
    def transport(self) -> Stub:
        return self

    def abort(self) -> None:
        self.aborted = True


def connection(peer: str, is_idle: bool = False) -> Any:
    return cast(Connection, Stub(peer, is_idle))


def test_as_many_connections_as_the_limit_fit_and_the_next_takes_the_oldest_stranger_s_place() -> None:
    open_now = Connections(limit=4, per_peer=0)
    four = [connection(f"10.0.0.{number}") for number in range(4)]
    for one in four:
        open_now.admit(one)
    assert len(open_now) == 4
    assert not any(one.aborted for one in four)
    open_now.admit(connection("10.0.0.9"))
    assert [one.aborted for one in four] == [True, False, False, False]
    assert len(open_now) == 4


def test_as_many_connections_of_one_address_fit_as_the_setting_says() -> None:
    open_now = Connections(limit=100, per_peer=3)
    mine = [connection("10.0.0.1") for _ in range(3)]
    other = connection("10.0.0.2")
    for one in (*mine, other):
        open_now.admit(one)
    assert not any(one.aborted for one in (*mine, other))
    open_now.admit(connection("10.0.0.1"))
    assert [one.aborted for one in mine] == [True, False, False]
    assert not other.aborted


def test_known_connections_count_and_a_full_house_of_busy_ones_refuses() -> None:
    open_now = Connections(limit=4, per_peer=0)
    busy = [connection("10.0.0.1") for _ in range(3)]  # a quarter of four places is left to strangers
    for one in busy:
        open_now.admit(one)
        open_now.recognise(one)
    stranger = connection("10.0.0.2")
    open_now.admit(stranger)
    assert len(open_now) == 4
    with pytest.raises(Overloaded, match="3 connections have a request running"):
        open_now.recognise(stranger)
    busy[1].is_idle = True
    open_now.recognise(stranger)
    assert [one.aborted for one in busy] == [False, True, False]


def test_an_address_whose_connections_are_all_known_is_refused_another() -> None:
    open_now = Connections(limit=100, per_peer=1)
    first = connection("10.0.0.1")
    open_now.admit(first)
    open_now.recognise(first)
    with pytest.raises(Overloaded, match=r"1 connections of 10\.0\.0\.1 already"):
        open_now.admit(connection("10.0.0.1"))
    open_now.forget(first)
    assert len(open_now) == 0
    open_now.admit(connection("10.0.0.1"))


@dataclasses.dataclass
class Wire:
    """What `LingeringTransport` uses of a transport: a client that has not sent its request whole."""

    unsent: int = 0
    aborted: bool = False

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def is_closing(self) -> bool:
        return self.aborted

    def abort(self) -> None:
        self.aborted = True

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None: ...

    def resume_reading(self) -> None: ...


def lingering(wire: Wire, clock: SimpleNamespace) -> LingeringTransport:
    """A transport that was closed before the request had arrived."""
    made = LingeringTransport(cast(Any, wire), cast(Any, SimpleNamespace(time=lambda: clock.now)))
    made.request_arrived = False
    made.close()
    return made


def test_a_client_that_stays_after_its_answer_is_let_go_after_a_time() -> None:
    clock, wire = SimpleNamespace(now=100.0), Wire()
    transport = lingering(wire, clock)
    clock.now += LINGER_S
    assert not transport.lingers_too_long()
    clock.now += 0.1
    assert transport.lingers_too_long()
    wire.unsent = 1  # the answer is still on its way
    assert not transport.lingers_too_long()


def test_a_client_that_goes_on_sending_after_its_answer_is_cut_off() -> None:
    wire = Wire()
    transport = lingering(wire, SimpleNamespace(now=100.0))
    transport.discard(bytes(LINGER_BYTES))
    assert not wire.aborted
    transport.discard(b"x")
    assert wire.aborted
