"""A real server whose store is PostgreSQL, from the first enroll over a restart to a lost database."""

from pathlib import Path

import grpc
import httpx
import pytest
from resight_client import Client, Erased, ResightError

from benchmarks.postgres import PostgresProcess
from benchmarks.serving import ServerProcess
from proto.resight.v1 import resight_pb2 as pb
from proto.resight.v1 import resight_pb2_grpc as rpc
from tests.tiny import make_tiny_bundle, picture


def test_a_server_on_postgresql(postgres: PostgresProcess, tmp_path: Path) -> None:
    url, bundle = postgres.new_database(), make_tiny_bundle(tmp_path)
    options = {"store": url, "engine": "onnxruntime"}
    with ServerProcess(bundle.path, tmp_path / "data", **options) as server, Client(server.url) as client:
        records = [{"identity": f"person-{i // 4}"} for i in range(20)]
        images = [picture(i) for i in range(20)]
        ids = [item.id for item in client.enroll("lobby", images, records=records).items]
        assert client.query("lobby", picture(3)).matches[0].id == ids[3]
        assert client.wait(client.adapt("lobby", "0", gate=False).job).version == 2
        assert client.wait(client.roll_back("lobby").job).version == 3
        before = client.query("lobby", picture(5), top_k=20)
        assert httpx.get(f"{server.url}/ready").json() == {"status": "ready", "purged": None}
        with pytest.raises(RuntimeError, match=f"^resight: store {url} is in use by process"):
            ServerProcess(bundle.path, tmp_path / "other", **options).__enter__()
        server.kill()
    with ServerProcess(bundle.path, tmp_path / "data", **options) as server, Client(server.url) as client:
        assert client.query("lobby", picture(5), top_k=20) == before
        erased = httpx.delete(f"{server.url}/gallery/{ids[5]}").json()
        assert erased == {"erased": 1, "purged": None, "index_keeps_until": None}
        assert client.erase_identity("lobby", "person-0") == Erased(4, purged=None)
        gone = {ids[5], *ids[:4]}
        assert not gone & {match.id for match in client.query("lobby", picture(5), top_k=20).matches}
        assert client.site("lobby").items == 15
        _database_goes_and_comes(server, client, postgres)
        assert client.query("lobby", picture(7)).matches[0].id == ids[7]


def _database_goes_and_comes(server: ServerProcess, client: Client, postgres: PostgresProcess) -> None:
    """A lost database costs the requests of that time, over both protocols, and nothing else."""
    postgres.stop()
    with pytest.raises(ResightError, match=r"store postgresql://\S+ does not answer") as caught:
        client.enroll("lobby", [picture(30)])
    assert (caught.value.status, caught.value.code) == (503, "store-unavailable")
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        gallery = rpc.GalleryStub(channel)
        with pytest.raises(grpc.RpcError) as refused:
            gallery.Enroll(pb.EnrollRequest(site="lobby", crops=[pb.Crop(image=picture(30))]))
        assert refused.value.code() == grpc.StatusCode.UNAVAILABLE
        assert "does not answer" in refused.value.details()
        assert httpx.get(f"{server.url}/ready").status_code == 503
        assert httpx.get(f"{server.url}/health").status_code == 200
        postgres.start()
        assert len(client.enroll("lobby", [picture(30)]).items) == 1
        assert (
            len(gallery.Enroll(pb.EnrollRequest(site="lobby", crops=[pb.Crop(image=picture(31))])).items) == 1
        )
    assert httpx.get(f"{server.url}/ready").status_code == 200
    assert client.site("lobby").items == 17
    assert "Traceback" not in server.log.read_text()
