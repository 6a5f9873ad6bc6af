"""Clients that enroll and erase at one site and write down what was acknowledged, for checks after a kill or
a swap."""

from __future__ import annotations

import dataclasses
import random
import threading
from typing import Any

from resight_client import Client, ResightError


@dataclasses.dataclass
class Ledger:
    """What the client knows: a request is acknowledged when its response has arrived."""

    # id -> (request, place in it)
    acknowledged: dict[str, tuple[int, int]] = dataclasses.field(default_factory=dict)
    # request -> number of items, noted before it is sent
    sizes: dict[int, int] = dataclasses.field(default_factory=dict)
    erased: set[str] = dataclasses.field(default_factory=set)  # acknowledged erasures
    erasing: set[str] = dataclasses.field(default_factory=set)  # sent, not acknowledged: may be erased or not
    versions: set[int] = dataclasses.field(default_factory=set)
    refused: list[str] = dataclasses.field(default_factory=list)  # sentences, while the server was there


class Traffic:
    """Enrolls and erases, each loop in a thread of its own, until `gone` is set.

    Args:
        crops: that are drawn from. crowd: items at the site at most, or a few more.
    """

    def __init__(
        self, url: str, site: str, ledger: Ledger, chance: random.Random, crops: list[bytes], crowd: int
    ) -> None:
        self.url, self.site, self.ledger, self.chance, self.crops = url, site, ledger, chance, crops
        self.crowd, self.gone, self.lock = crowd, threading.Event(), threading.Lock()

    def enroll(self, pause_s: float = 0.0, most: int = 8) -> None:
        """Requests of up to `most` items, one after the other."""
        with Client(self.url) as client:
            while not self.gone.wait(pause_s):
                if len(self.ledger.acknowledged) - len(self.ledger.erasing) > self.crowd:
                    self.gone.wait(0.1)
                    continue
                with self.lock:
                    size = self.chance.randint(1, most)
                self.send(client, size)

    def send(self, client: Client, size: int) -> None:
        """One request of so many items."""
        with self.lock:
            request = len(self.ledger.sizes)
            self.ledger.sizes[request] = size
            drawn = self.chance.choices(self.crops, k=size)
        records: list[dict[str, Any]] = []
        for place in range(size):
            metadata = {"request": request, "place": place}
            records.append({"metadata": metadata, "camera": f"c{place % 3}"})
        try:
            response = client.enroll(self.site, drawn, records=records)
        except ResightError as error:
            self._refused(error)
            return
        with self.lock:
            self.ledger.acknowledged |= {item.id: (request, i) for i, item in enumerate(response.items)}

    def erase(self, pause_s: float = 0.02, fewest: int = 40) -> None:
        """One item after the other, as long as there are so many."""
        with Client(self.url) as client:
            while not self.gone.wait(pause_s):
                with self.lock:
                    alive = [i for i in self.ledger.acknowledged if i not in self.ledger.erasing]
                    if len(alive) < fewest:
                        continue
                    item = self.chance.choice(alive)
                    self.ledger.erasing.add(item)
                try:
                    client.erase(item)
                except ResightError as error:
                    self._refused(error)
                    continue
                with self.lock:
                    self.ledger.erased.add(item)

    def _refused(self, error: ResightError) -> None:
        if not self.gone.is_set():
            self.ledger.refused.append(str(error))
