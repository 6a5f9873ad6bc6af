"""What the server refuses to start with, and what it carries over a restart."""

import json
import socket
import time
from pathlib import Path

import httpx
import pytest
from resight_client import Client, ResightError

from benchmarks.serving import ServerProcess
from reid.bundle import Bundle
from server.auth import make_key
from server.errors import StartError
from server.gallery.records import Version
from server.gallery.store import Store
from tests.conftest import enroll_people
from tests.tiny import make_tiny_bundle, open_tiny, tiny_server

People = list[tuple[bytes, str, str]]


def test_everything_is_there_after_a_restart(bundle: Bundle, people: People, tmp_path: Path) -> None:
    with ServerProcess(bundle.path, tmp_path / "data") as server, Client(server.url) as client:
        ids = enroll_people(client, "lobby", people)
        client.wait(client.adapt("lobby", "2", gate=False).job)
        before = client.query("lobby", people[0][0], top_k=48)
    with ServerProcess(bundle.path, tmp_path / "data") as server, Client(server.url) as client:
        after = client.query("lobby", people[0][0], top_k=48)
        assert after == before
        assert [item.id for item in client.items("lobby").items] == ids
        assert client.wait(client.roll_back("lobby").job).version == 3


def test_a_gallery_of_another_model_is_refused_and_can_be_re_embedded(people: People, tmp_path: Path) -> None:
    data = tmp_path / "data"
    other = make_tiny_bundle(tmp_path, "other", spread=50.0)
    with tiny_server(tmp_path) as server, Client(server.url) as client:
        ids = enroll_people(client, "lobby", people)
    sentence = r"site 'lobby' holds embeddings of space-\w+; bundle 'other' .* resight serve --reembed"
    with pytest.raises(StartError, match=sentence):
        open_tiny(other, data)
    with (
        ServerProcess(other.path, data, engine="onnxruntime", reembed=True) as server,
        Client(server.url) as client,
    ):
        assert client.site("lobby").version == 2
        assert client.query("lobby", people[7][0]).matches[0].id == ids[7]
        with pytest.raises(ResightError, match="no self-supervised heads"):
            client.adapt("lobby", "2")
    open_tiny(other, data).close()


def test_another_embedding_dimension_is_named(tmp_path: Path) -> None:
    store = Store(tmp_path / "data")
    store.versions.add_site(
        Version("hall", 1, "some-profile", "space-0", "space-0", 2048, None, "created", time.time())
    )
    store.close()
    with pytest.raises(
        StartError, match="makes 24-d embeddings; the gallery of site 'hall' holds 2048-d ones"
    ):
        open_tiny(make_tiny_bundle(tmp_path), tmp_path / "data")


@pytest.mark.parametrize("damage", ["flip", "missing", "schema"])
def test_a_damaged_bundle_is_refused_in_one_sentence(tmp_path: Path, damage: str) -> None:
    tiny = make_tiny_bundle(tmp_path)
    if damage == "flip":
        data = bytearray((tiny.path / "weights.safetensors").read_bytes())
        data[-7] ^= 1
        (tiny.path / "weights.safetensors").write_bytes(data)
        sentence = "weights.safetensors is damaged"
    elif damage == "missing":
        (tiny.path / "model.onnx").unlink()
        sentence = "file model.onnx is missing"
    else:
        values = json.loads((tiny.path / "manifest.json").read_text()) | {"schema_version": 2}
        (tiny.path / "manifest.json").write_text(json.dumps(values))
        sentence = "has schema 2, this Resight reads 1"
    with pytest.raises(StartError, match=f"^bundle .*{sentence}"):
        open_tiny(tiny, tmp_path / "data")


def test_a_wanted_gpu_that_is_not_there_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="no engine works for device 'cuda'"):
        open_tiny(make_tiny_bundle(tmp_path), tmp_path / "data", device="cuda", engine="auto")


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        server = tiny_server(tmp_path)
        server.environment["RESIGHT_PORT"] = str(port)
        with pytest.raises(RuntimeError, match=f"^resight: port {port} on 127.0.0.1 cannot be had"):
            server.__enter__()


def test_images_that_may_not_be_kept_are_not(bundle: Bundle, people: People, tmp_path: Path) -> None:
    with (
        ServerProcess(bundle.path, tmp_path / "data", keep_images=False) as server,
        Client(server.url) as client,
    ):
        ids = enroll_people(client, "lobby", people)
        assert client.query("lobby", people[3][0]).matches[0].id == ids[3]
        assert httpx.get(f"{server.url}/gallery/{ids[0]}/image").status_code == 404
        with pytest.raises(ResightError, match="images of site 'lobby' are not kept") as caught:
            client.adapt("lobby", "2", gate=False)
        assert caught.value.status == 409


def test_off_loopback_a_key_is_made_once_and_asked_for(people: People, tmp_path: Path) -> None:
    with tiny_server(tmp_path, auth="on") as server:
        words = server.log.read_text().split()
        key = next(word for word in words if word.startswith("rs_"))
        assert key.encode() not in b"".join(f.read_bytes() for f in (tmp_path / "data").iterdir())
        with Client(server.url) as nobody, pytest.raises(ResightError) as caught:
            nobody.sites()
        assert caught.value.status == 401
        with Client(server.url, api_key="rs_wrong") as nobody, pytest.raises(ResightError, match="not known"):
            nobody.sites()
        with Client(server.url, api_key=key) as client:
            enroll_people(client, "lobby", people[:2])
        reader = make_key(Store(tmp_path / "data", beside=True), "read").text
        with Client(server.url, api_key=reader) as client:
            assert client.query("lobby", people[0][0]).matches
            with pytest.raises(ResightError, match="scope write") as caught:
                client.enroll("lobby", [people[0][0]])
            assert caught.value.status == 403
            with pytest.raises(ResightError, match="scope admin"):
                client.adapt("lobby")
        assert httpx.get(f"{server.url}/health").status_code == 200
    with tiny_server(tmp_path, auth="on") as server:
        assert server.log.read_text().count("rs_") == 1
