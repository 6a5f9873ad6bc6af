"""A real server whose index is Milvus, from the first enroll over a restart to a lost Milvus."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from resight_client import Client, Erased

from benchmarks.milvus import MilvusProcess
from benchmarks.serving import ServerProcess
from proto.resight.v1 import resight_pb2 as pb
from proto.resight.v1 import resight_pb2_grpc as rpc
from server.errors import StartError
from server.fields import iso
from server.gallery.records import NewItem
from tests.cut import Cut
from tests.tiny import make_tiny_bundle, open_tiny, picture, tiny_server


def until(holds: Callable[[], bool], seconds: float = 60) -> None:
    """Waits for it."""
    latest = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < latest
        time.sleep(0.05)


def in_milvus(client: Client, site: str = "lobby") -> bool:
    """Whether every item of a site is there."""
    report = client.site(site)
    assert report.index is not None
    return report.index.items == report.items


def test_a_server_on_milvus(milvus_uri: str, tmp_path: Path) -> None:
    """The same that tests/test_postgres.py asks of a server on PostgreSQL."""
    if milvus_uri.endswith(".db"):
        milvus_uri = str(tmp_path / "lite.db")  # of the server's process alone
    options = {"index": "milvus", "milvus_uri": milvus_uri, "milvus_log_days": 2}
    with tiny_server(tmp_path, **options) as server, Client(server.url) as client:
        assert client.info()["index"] == "milvus"
        records = [{"identity": f"person-{i // 4}"} for i in range(20)]
        ids = [i.id for i in client.enroll("lobby", [picture(i) for i in range(20)], records=records).items]
        assert client.query("lobby", picture(3)).matches[0].id == ids[3]
        assert client.wait(client.adapt("lobby", "0", gate=False).job).version == 2
        assert client.wait(client.roll_back("lobby").job).version == 3
        before = client.query("lobby", picture(5), top_k=20)
        server.kill()
    with tiny_server(tmp_path, **options) as server, Client(server.url) as client:
        until(lambda: in_milvus(client))
        assert client.query("lobby", picture(5), top_k=20) == before
        began = time.time()
        erased = client.erase(ids[5])
        assert erased == Erased(1, True, erased.index_keeps_until)
        assert iso(began + 2 * 86_400 - 1) < str(erased.index_keeps_until) < iso(time.time() + 2 * 86_400 + 1)
        with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
            answer = rpc.GalleryStub(channel).Erase(pb.EraseRequest(item_id=ids[6]))
            assert began + 2 * 86_400 <= answer.index_keeps_until <= time.time() + 2 * 86_400
        assert client.erase_identity("lobby", "person-0").erased == 4
        gone = {*ids[:4], ids[5], ids[6]}
        assert not gone & {match.id for match in client.query("lobby", picture(5), top_k=20).matches}
        client.delete_site("lobby")
        assert client.enroll("lobby", [picture(1)]).version == 1
        assert len(client.query("lobby", picture(5)).matches) == 1
        if not milvus_uri.endswith(".db"):  # milvus-lite has a log of its own, in the same place
            assert "Traceback" not in server.log.read_text()


def test_a_lost_milvus_costs_queries_and_nothing_else(milvus: MilvusProcess, tmp_path: Path) -> None:
    """503 with Retry-After over both protocols, until it is back; what happened meanwhile is in the answers
    then."""
    with Cut(milvus.port) as way:
        options = {"index": "milvus", "milvus_uri": f"http://127.0.0.1:{way.port}"}
        with tiny_server(tmp_path, **options) as server, Client(server.url) as client:
            ids = [i.id for i in client.enroll("lobby", [picture(i) for i in range(18)]).items]
            until(lambda: in_milvus(client))
            way.cut()
            asked = {"data": {"site": "lobby"}, "files": {"images": picture(1)}}
            refused = httpx.post(f"{server.url}/query", **asked, timeout=30)
            assert (refused.status_code, refused.json()["code"]) == (503, "index-unavailable")
            assert int(refused.headers["Retry-After"]) >= 1
            assert "everything but queries goes on, and nothing is lost" in refused.json()["detail"]
            assert _refused_over_grpc(server) == grpc.StatusCode.UNAVAILABLE
            assert str(client.site("lobby").index.waits).startswith("Milvus at http://127.0.0.1")
            ids += [i.id for i in client.enroll("lobby", [picture(30)]).items]
            assert client.erase(ids[1]).erased == 1
            assert client.wait(client.adapt("lobby", "0", gate=False).job).version == 2
            assert {item.id for item in client.items("lobby").items} == {*ids} - {ids[1]}
            assert httpx.get(f"{server.url}/ready").status_code == 200
            way.mend()
            until(lambda: httpx.post(f"{server.url}/query", **asked, timeout=30).status_code == 200)
            for _ in range(2):  # with rows in memory, then out of Milvus alone
                assert client.query("lobby", picture(30)).matches[0].id == ids[18]
                found = client.query("lobby", picture(1), top_k=30).matches
                assert {match.id for match in found} == {*ids} - {ids[1]}
                until(lambda: in_milvus(client))
            assert "Traceback" not in server.log.read_text()


def _refused_over_grpc(server: ServerProcess) -> Any:
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        with pytest.raises(grpc.RpcError) as caught:
            rpc.GalleryStub(channel).Query(pb.QueryRequest(site="lobby", images=[picture(1)]), timeout=30)
        return caught.value.code()


def test_a_start_mends_what_milvus_has(milvus_uri: str, tmp_path: Path) -> None:
    """Rows that lack are written, foreign ones deleted, of a site's own space and of any other; none of
    another gallery is touched."""
    bundle, options = make_tiny_bundle(tmp_path), {"index": "milvus", "milvus_uri": milvus_uri}
    other = open_tiny(bundle, tmp_path / "other", **options)
    service = open_tiny(bundle, tmp_path / "data", **options)

    async def enroll(into: Any) -> list[int]:
        records = [NewItem(camera="door")] * 6
        done = await into.enrolling.enroll("lobby", [picture(i) for i in range(6)], records)
        return [item.seq for item in done.items]

    seqs = asyncio.run(enroll(service))
    asyncio.run(enroll(other))
    for each in (service, other):
        index = each.sites.get("lobby").state.index
        while index.write(at_once=True) or index.facts.items != 6:
            pass
    rows, space = service.sites.indexes.rows, service.sites.get("lobby").state.index.space
    before = rows.of_space("lobby", space)
    service.sites.indexes.writer.close()
    rows.connect()
    rows.delete(space, seqs[:2])
    vector = service.store.embeddings.get(seqs[0], service.sites.get("lobby").state.version.raw_space_id)
    for site, number, seq in (("lobby", space, 999), ("lobby", 7, seqs[0]), ("gone", 8, 5)):
        rows.insert(site, number, [seq], ["door"], [1], vector[None])
    rows.delete(space, [seqs[5]])
    rows.insert("lobby", space, [seqs[5]], ["hall"], [1], vector[None])  # another camera's, so another digest
    assert len(rows.digests(space, [*seqs, 999])) == 5
    service.close()
    again = open_tiny(bundle, tmp_path / "data", **options)
    mended = again.sites.indexes.rows
    expected = {("lobby", space, seq): digest for seq, digest in before.items()}
    until(lambda: {(r.site, r.space, r.seq): r.digest for r in mended.all()} == expected)
    assert again.sites.get("lobby").state.index.space == space
    assert len(list(other.sites.indexes.rows.all())) == 6
    again.close()
    other.close()


def test_a_start_without_milvus_says_so(pymilvus: None, tmp_path: Path) -> None:
    with pytest.raises(StartError, match=r"Milvus at http://127.0.0.1:1 does not answer.*RESIGHT_MILVUS_URI"):
        open_tiny(
            make_tiny_bundle(tmp_path), tmp_path / "data", index="milvus", milvus_uri="http://127.0.0.1:1"
        )
