"""docs/filters.md: every example, run over HTTP and gRPC against a real server."""

import json
import re
import uuid

import grpc
import pytest
from resight_client import Client, ResightError

from benchmarks.serving import ROOT, ServerProcess
from proto.resight.v1 import resight_pb2 as pb
from proto.resight.v1 import resight_pb2_grpc as rpc

People = list[tuple[bytes, str, str]]
PAGE = (ROOT / "docs/filters.md").read_text()
ITEMS = [json.loads(line) for line in re.findall(r"^    (\{.*\})$", PAGE, re.MULTILINE)]
EXAMPLES = re.findall(r"^\| `(\{.*?\})` \| ([\d, ]+) \|", PAGE, re.MULTILINE)


@pytest.fixture(scope="module")
def site(server: ServerProcess, people: People) -> tuple[str, list[str]]:
    """A site with the page's items, and their ids."""
    name = f"page-{uuid.uuid4().hex[:8]}"
    with Client(server.url) as client:
        items = client.enroll(name, [data for data, _, _ in people[: len(ITEMS)]], records=ITEMS).items
    return name, [item.id for item in items]


def test_the_page_has_its_examples() -> None:
    assert len(ITEMS) == 5
    assert len(EXAMPLES) == 17


@pytest.mark.parametrize(("where", "numbers"), EXAMPLES)
def test_an_example_chooses_what_the_page_says(
    server: ServerProcess,
    client: Client,
    people: People,
    site: tuple[str, list[str]],
    where: str,
    numbers: str,
) -> None:
    name, ids = site
    expected = [ids[int(number) - 1] for number in numbers.split(",")]
    assert [item.id for item in client.items(name, filter=where).items] == expected
    matches = client.query(name, people[0][0], top_k=100, filter=json.loads(where)).matches
    assert {match.id for match in matches} == set(expected)
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        gallery = rpc.GalleryStub(channel)
        listed = gallery.List(pb.ListRequest(site=name, filter_json=where)).items
        assert [item.id for item in listed] == expected
        request = pb.QueryRequest(site=name, images=[people[0][0]], top_k=100, filter_json=where)
        assert {match.item.id for match in gallery.Query(request).matches} == set(expected)


@pytest.mark.parametrize(("where", "numbers"), EXAMPLES)
def test_an_example_erases_what_it_lists(client: Client, people: People, where: str, numbers: str) -> None:
    name = f"page-{uuid.uuid4().hex[:8]}"
    ids = [
        i.id for i in client.enroll(name, [data for data, _, _ in people[: len(ITEMS)]], records=ITEMS).items
    ]
    gone = {ids[int(number) - 1] for number in numbers.split(",")}
    if where == "{}":
        with pytest.raises(ResightError, match="nothing says what to erase"):
            client.erase_items(name, filter=where)
        gone = set()
    else:
        assert client.erase_items(name, filter=where).erased == len(gone)
    assert {item.id for item in client.items(name).items} == set(ids) - gone
    assert {match.id for match in client.query(name, people[0][0], top_k=100).matches} == set(ids) - gone
