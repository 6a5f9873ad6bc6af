"""Adapting a live site: no query fails, no answer mixes versions, nothing enrolled or erased meanwhile is
lost or comes back."""

import threading
import time
import uuid

import pytest
from resight_client import Client, JobFailed, ResightError

from benchmarks.serving import ServerProcess
from tests.conftest import draw_jpegs, enroll_people

People = list[tuple[bytes, str, str]]


@pytest.fixture
def site(client: Client, people: People) -> str:
    """A site with 48 items."""
    name = f"live-{uuid.uuid4().hex[:8]}"
    enroll_people(client, name, people)
    return name


def test_adapt_then_roll_back(client: Client, site: str, people: People) -> None:
    before = client.query(site, people[0][0], top_k=48)
    job = client.wait(client.adapt(site, "2", gate=False).job)
    adapted = client.site(site)
    assert (job.version, adapted.version, adapted.adapted, adapted.items) == (2, 2, True, 48)
    assert job.report["crops"] >= 16
    assert job.report["pairs"] == job.report["crops"] // 2
    assert set(job.report["seconds"]) == {"sample", "load", "adapt", "compile", "re-embed"}
    after = client.query(site, people[0][0], top_k=48)
    assert after.version == 2
    assert after.space_id != before.space_id
    assert after.matches[0].id == before.matches[0].id  # a crop still finds itself
    assert [m.score for m in after.matches] != [m.score for m in before.matches]

    late = client.enroll(site, [people[0][0]], identity="late").items[0].id
    assert client.wait(client.roll_back(site).job).version == 3
    back = client.query(site, people[0][0], top_k=49)
    assert back.version == 3
    assert back.space_id == before.space_id
    assert late in {m.id for m in back.matches}
    assert [m.id for m in back.matches if m.id != late] == [m.id for m in before.matches]
    with pytest.raises(ResightError, match="no earlier one to roll back to: a rollback made it"):
        client.roll_back(site)


def test_the_same_seed_adapts_to_the_same_profile(client: Client, site: str) -> None:
    profiles = []
    for _ in range(2):
        job = client.wait(client.adapt(site, "2", seed=4, gate=False).job)
        profiles.append(job.report["profile"])
        client.wait(client.adapt(site, "none").job)
    assert profiles[0] == profiles[1]
    assert not client.site(site).adapted


def test_one_job_a_site_at_a_time_and_cancelling_keeps_the_version(client: Client, site: str) -> None:
    job = client.adapt(site, "2", gate=False)
    with pytest.raises(ResightError, match="already has job"):
        client.adapt(site)
    client.cancel(job.job)
    with pytest.raises(JobFailed, match="cancelled"):
        client.wait(job.job)
    assert client.site(site).version == 1
    client.wait(client.adapt(site, "2", gate=False).job)
    assert client.site(site).version == 2


def test_progress_arrives_as_events(client: Client, site: str) -> None:
    seen = list(client.watch(client.adapt(site, "2", gate=False).job))
    assert seen[-1].state == "succeeded"
    assert len({job.stage for job in seen}) >= 4
    progress = [job.progress for job in seen]
    assert progress == sorted(progress) and progress[-1] == 1.0


def test_queries_enrolls_and_erasures_during_adaptations(server: ServerProcess, people: People) -> None:
    """The whole promise at once: two adaptations and a rollback under constant traffic."""
    name = f"busy-{uuid.uuid4().hex[:8]}"
    more = draw_jpegs(30, cameras=2, images=2, site=3)
    with Client(server.url) as client:
        ids = dict.fromkeys(enroll_people(client, name, more), True)
    space_of: dict[int, set[str]] = {}
    failures: list[str] = []
    erased: set[str] = set()
    stop = threading.Event()
    queries = 0

    def ask() -> None:
        nonlocal queries
        with Client(server.url) as client:
            while not stop.is_set():
                gone = set(erased)
                try:
                    found = client.query(name, people[queries % len(people)][0], top_k=1000)
                except ResightError as error:
                    failures.append(str(error))
                    continue
                queries += 1
                space_of.setdefault(found.version, set()).add(found.space_id)
                returned = [m.id for m in found.matches]
                if len(returned) != len(set(returned)) or gone & set(returned):
                    failures.append("an item twice, or one that was erased before the query")
                if len(returned) < 100:
                    failures.append(f"only {len(returned)} items")
                time.sleep(0.02)  # the jobs shall get on

    def write() -> None:
        number = 0
        with Client(server.url) as client:
            while not stop.is_set():
                data, identity, camera = people[number % len(people)]
                item = client.enroll(name, [data], identity=identity, camera=camera).items[0].id
                ids[item] = True
                if number % 3 == 0:
                    client.erase(item)
                    erased.add(item)
                    del ids[item]
                number += 1
                time.sleep(0.01)

    threads = [threading.Thread(target=f) for f in (ask, ask, write)]
    for thread in threads:
        thread.start()
    with Client(server.url) as client:
        client.wait(client.adapt(name, "2", seed=1, gate=False).job)
        client.wait(client.adapt(name, "2", seed=2, gate=False).job)
        client.wait(client.roll_back(name).job)
        until = time.monotonic() + 10
        while 4 not in space_of and time.monotonic() < until:  # the newest version has answered somebody
            time.sleep(0.01)
        stop.set()
        for thread in threads:
            thread.join()
        assert not failures, failures[:3]
        assert queries > 50
        assert client.site(name).version == 4
        assert set(space_of) >= {1, 4}
        assert all(len(spaces) == 1 for spaces in space_of.values())
        final = {m.id for m in client.query(name, people[0][0], top_k=5000).matches}
        assert final == set(ids)
        assert len(erased) > 3
