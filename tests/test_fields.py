"""What is accepted can be stored and read: one range of times in every notation, JSON without surprises."""

from __future__ import annotations

import json
import re
import uuid
from typing import Any

import grpc
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from resight_client import Client, ResightError
from typer.testing import CliRunner

from benchmarks.serving import ServerProcess
from proto.resight.v1 import resight_pb2 as pb
from proto.resight.v1 import resight_pb2_grpc as rpc
from resight import app
from server.errors import BadRequest
from server.fields import filter_of, iso, json_of, query_camera_of, record_of, time_of

People = list[tuple[bytes, str, str]]
BAD_TIMES: list[Any] = [
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59-14:00",
    "1969-12-31T23:59:59.999999Z",
    "1970-01-01T00:00:00+00:01",
    "2100-01-01T00:00:00.000001Z",
    "2100-01-01T00:00:00-00:01",
    "2100-01-02",
    "-1",
    -1,
    -0.001,
    4102444801,
    "4102444800.5",
    10**400,
    "1e999",
    "nan",
    "Infinity",
    float("nan"),
    float("inf"),
    True,
    False,
    "yesterday",
    "2026-02-30",
    "2026-05-04T25:00Z",
    "2026-05-04T09:30:00+25:00",
    "2026-05-04T09:30:00 02:00",  # a plus sign that a URL turned into a space
    "1_000",
    "١٢",
    " 12",
    "2026-05-04T09:30:00Z\0",
    "\ud800",
    [1],
    {"gte": 1},
]
DATES_OF_DIGITS = ["20260504", "2026", "202605", "20260504093000", "0", "+20260504", "2026e0"]
BAD_FILTERS: list[dict[str, Any]] = [
    {"metadata": {f"k{i}": 1 for i in range(101)}},
    {"captured_at": {"gte": 5, "lt": 5}},
    {"captured_at": {"gt": 5, "lte": 5}},
]
BAD_JSON = [
    ('{"k": 1e999}', "1e999"),
    ('{"k": -1e999}', "-1e999"),
    ('{"k": Infinity}', "Infinity"),
    ('{"k": NaN}', "NaN"),
    ('{"k": ' + "9" * 400 + "}", "400 digits"),
    ('{"k": 9223372036854775808}', "64 bits"),
    ('{"k": -9223372036854775809}', "64 bits"),
    ('{"k": "a\\u0000"}', "NUL"),
    ('{"k\\u0000": 1}', "NUL"),
    ('{"k": "\\ud800"}', "surrogate"),
    ('{"k": "\\udc00x"}', "surrogate"),
    ('{"\\ud800": 1}', "surrogate"),
    ('{"k": 1, "k": 2}', "'k' stands twice"),
    ('{"k": 1, "\\u006b": 1}', "'k' stands twice"),
    ('{"k": {"a": 1}}', "k"),
    ('{"k": [[1]]}', "k"),
    ('{"k":' * 2000 + "1" + "}" * 2000, "nested"),
    ("[" * 60_000, "nested"),
    ("[" * 900 + '"\\u0041"' + "]" * 900, "nested"),
    ('{"k": ' + "[" * 17 + "]" * 17 + "}", "nested"),
    ('{"k": 01}', "JSON"),
    ("", "JSON"),
]


@pytest.mark.parametrize("value", BAD_TIMES, ids=lambda value: ascii(value)[:40])
def test_a_time_that_could_not_be_read_again_is_refused(value: Any) -> None:
    with pytest.raises(BadRequest, match="captured_at"):
        time_of(value, "captured_at")
    with pytest.raises(BadRequest, match=r"crops\[3\]\.captured_at"):
        record_of({"captured_at": value}, "crops[3].")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "1970-01-01T00:00:00Z"),
        ("0.0", "1970-01-01T00:00:00Z"),
        (20260504, "1970-08-23T11:55:04Z"),  # a number is seconds, whatever it looks like
        ("20260504.0", "1970-08-23T11:55:04Z"),
        ("100000000", "1973-03-03T09:46:40Z"),
        ("1777887000", "2026-05-04T09:30:00Z"),
        ("1970-01-01", "1970-01-01T00:00:00Z"),
        ("1969-12-31T14:00:00-10:00", "1970-01-01T00:00:00Z"),
        (4102444800, "2100-01-01T00:00:00Z"),
        ("2100-01-01T14:00:00+14:00", "2100-01-01T00:00:00Z"),
        ("2026-05-04T09:30", "2026-05-04T09:30:00Z"),
        ("2026-05-04 09:30:00.5z", "2026-05-04T09:30:00.500000Z"),
        ("2026-05-04T09:30:00,123456789+0200", "2026-05-04T07:30:00.123457Z"),
        (1777887000.1234567, "2026-05-04T09:30:00.123457Z"),
        ("1.5e9", "2017-07-14T02:40:00Z"),
    ],
)
def test_times_are_the_same_in_every_notation(value: Any, shown: str) -> None:
    assert iso(time_of(value)) == shown


@pytest.mark.parametrize("text", DATES_OF_DIGITS)
def test_text_of_digits_that_may_be_a_date_is_not_read_as_seconds(
    server: ServerProcess, people: People, text: str
) -> None:
    """Over HTTP, gRPC and the command line, alone, in records and in filters."""
    sentence = (
        f"'{text}' is no time; send ISO 8601, like 2026-05-04 or 2026-05-04T09:30:00Z, or seconds since"
    )
    filter_json = json.dumps({"captured_at": {"gte": text}})
    site = f"digits-{uuid.uuid4().hex[:8]}"
    with Client(server.url) as client:
        client.enroll(site, [people[0][0]], captured_at=20260504)
        assert len(client.items(site, captured_after=20260504, captured_before=20260505).items) == 1
        for call in (
            lambda: client.enroll(site, [people[0][0]], captured_at=text),
            lambda: client.enroll(site, [people[0][0]], records=[{"captured_at": text}]),
            lambda: client.items(site, captured_after=text),
            lambda: client.items(site, filter=filter_json),
            lambda: client.erase_items(site, captured_before=text),
            lambda: client.erase_items(site, filter={"captured_before": text}),
            lambda: client.query(site, people[0][0], filter={"enrolled_at": [text]}),
        ):
            with pytest.raises(ResightError, match=re.escape(sentence)):
                call()
        with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
            gallery = rpc.GalleryStub(channel)
            for method, request in (
                (gallery.List, pb.ListRequest(site=site, filter_json=filter_json)),
                (gallery.Erase, pb.EraseRequest(site=site, filter_json=filter_json)),
                (gallery.Query, pb.QueryRequest(site=site, images=[people[0][0]], filter_json=filter_json)),
            ):
                with pytest.raises(grpc.RpcError, match=re.escape(sentence)):
                    method(request)
        words = ["list", "--site", site, "--server", server.url, "--captured-after", text]
        assert sentence in CliRunner().invoke(app, words).stderr
        assert client.site(site).items == 1


@given(st.floats(0, 4_102_444_800))
def test_a_time_as_it_is_shown_is_the_time_that_was_stored(seconds: float) -> None:
    stored = time_of(seconds)
    assert time_of(iso(stored)) == time_of(stored) == stored


@pytest.mark.parametrize(("text", "word"), BAD_JSON, ids=lambda value: value[:30])
def test_metadata_that_could_not_be_read_again_is_refused(text: str, word: str) -> None:
    with pytest.raises(BadRequest, match="metadata") as caught:
        record_of({"metadata": text or " "})
    assert word in caught.value.detail
    assert len(caught.value.detail) < 300
    with pytest.raises(BadRequest, match="filter") as caught:
        filter_of(f'{{"metadata": {text}}}')
    assert (
        word in caught.value.detail or "JSON" in caught.value.detail or "unknown key" in caught.value.detail
    )


@pytest.mark.parametrize("label", ["a\0b", "\ud800", "x" * 257, True, 1.5, ["a"], {"a": 1}])
def test_a_label_that_cannot_be_stored_is_refused(label: Any) -> None:
    for name in ("camera", "identity"):
        with pytest.raises(BadRequest, match=name):
            record_of({name: label})
        with pytest.raises(BadRequest, match=f"filter.{name}"):
            filter_of(json.dumps({name: {"not": [label]}}))


def test_a_name_is_the_same_however_its_letters_are_composed() -> None:
    for typed in ("Jos\u00e9", "Jose\u0301"):
        record = record_of({"identity": typed, "camera": typed})
        assert (record.identity, record.camera) == ("Jos\u00e9", "Jos\u00e9")
        assert filter_of(json.dumps({"identity": typed})) == filter_of('{"identity": "Jos\u00e9"}')
    assert record_of({"identity": "e\u0301" * 256}).identity == "\u00e9" * 256


def test_a_label_of_256_characters_is_a_label() -> None:
    assert record_of({"camera": "x" * 256}).camera == "x" * 256
    assert record_of({"identity": 10**255}).identity == str(10**255)


@pytest.mark.parametrize(
    "where",
    [
        {"camera": ""},
        {"camera": []},
        {"camera": {}},
        {"camera": [""]},
        {"camera": ["x"] * 1001},
        {"camera": [["x"]]},
        {"camera": [{"gt": "x"}]},
        {"camera": {"eq": "x"}},
        {"camera": {"gt": None}},
        {"camera": {"gt": "a", "gte": "b"}},
        {"camera": {"gt": "b", "lt": "a"}},
        {"camera": {"not": {"not": "a"}}},
        {"captured_at": ""},
        {"captured_at": True},
        {"captured_at": "yesterday"},
        {"captured_at": {"gte": None}},
        {"captured_after": None},
        {"captured_before": ""},
        {"captured_after": 5, "captured_at": {"lt": 3}},
        {"metadata": None},
        {"metadata": []},
        {"metadata": {"k": {}}},
        {"metadata": {"k": []}},
        {"metadata": {"k": {"gt": True}}},
        {"metadata": {"k": {"gt": None}}},
        {"metadata": {"k": {"gt": 1, "lt": "b"}}},
        {"metadata": {"k": {"a": 1}}},
        {"lacks_metadata": None},
        {"lacks_metadata": []},
        {"lacks_metadata": {}},
        {"lacks_metadata": "k"},
        {"lacks_metadata": [1]},
        {"lacks_metadata": [None]},
        {"lacks_metadata": [["k"]]},
        {"lacks_metadata": ["k\0"]},
        {"lacks_metadata": ["\ud800"]},
        {"lacks_metadata": ["k"] * 101},
        {"lacks_metadata": ["k"], "metadata": {"k": {"not": None}}},
        {"metadata": {"k": [1, 2]}, "lacks_metadata": ["other", "k"]},
        {"without": ["k"]},
        {"metadata": {"lacks_metadata": ["k"], "k": {}}},
        {"id": "x"},
        {"seq": 1},
    ],
    ids=json.dumps,
)
def test_a_filter_that_says_nothing_or_nonsense_is_refused(where: Any) -> None:
    with pytest.raises(BadRequest, match=r"filter"):
        filter_of(json.dumps(where))


@pytest.mark.parametrize("text", ["null", "[]", "3", '"x"', "{", "", "{} x", "x" * 70_000])
def test_a_filter_is_an_object(text: str) -> None:
    with pytest.raises(BadRequest, match="filter"):
        filter_of(text)


@given(st.recursive(st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(), st.lists))
def test_json_is_read_as_python_reads_it(value: Any) -> None:
    text = json.dumps(value)
    try:
        assert json_of(text, "x") == value
    except BadRequest as error:
        assert "NUL" in error.detail or "surrogate" in error.detail  # noqa: PT017


@pytest.mark.parametrize(
    "fields",
    [
        {"captured_at": "0001-01-01T00:00:00+14:00"},
        {"captured_at": "9999-12-31T23:59:59-14:00"},
        {"metadata": '{"k": 1e999}'},
        {"metadata": '{"k": "\\ud800"}'},
        {"camera": "a\0b"},
        {"records": '[{"camera": "\\ud800"}]'},
        {"records": '[{"camera": "a", "camera": "b"}]'},
        {"records": '[{"captured_at": ' + "9" * 400 + "}]"},
        {"site": "a\0b"},
    ],
)
def test_what_is_refused_over_http_leaves_nothing(
    server: ServerProcess, client: Client, people: People, fields: dict[str, str]
) -> None:
    client.enroll("readable", [people[0][0]])
    before = client.site("readable").items
    files = [("images", ("x.jpg", people[0][0], "image/jpeg"))]
    response = httpx.post(f"{server.url}/gallery", data={"site": "readable", **fields}, files=files)
    assert response.status_code == 400, response.text
    assert client.site("readable").items == before
    assert len(client.items("readable", limit=1000, filter={"metadata": {"k": None}}).items) == before


@pytest.mark.parametrize(
    ("crop", "word"),
    [
        ({"captured_at": -1.0}, "captured_at"),
        ({"captured_at": float("inf")}, "captured_at"),
        ({"captured_at": float("nan")}, "captured_at"),
        ({"captured_at": 4.2e9}, "captured_at"),
        ({"metadata_json": '{"k": 1e999}'}, "metadata"),
        ({"metadata_json": '{"k": 1, "k": 2}'}, "metadata"),
        ({"camera": "a\0b"}, "camera"),
        ({"identity": "x" * 257}, "identity"),
    ],
)
def test_what_is_refused_over_grpc_is_named(
    server: ServerProcess, people: People, crop: dict[str, Any], word: str
) -> None:
    request = pb.EnrollRequest(site="readable", crops=[pb.Crop(image=people[0][0], **crop)])
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        gallery = rpc.GalleryStub(channel)
        with pytest.raises(grpc.RpcError) as caught:
            gallery.Enroll(request)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert f"crops[0].{word}" in caught.value.details()


def test_the_first_second_of_1970_is_a_time_over_grpc_too(server: ServerProcess, people: People) -> None:
    crops = [pb.Crop(image=people[0][0], captured_at=0.0), pb.Crop(image=people[0][0])]
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        items = rpc.GalleryStub(channel).Enroll(pb.EnrollRequest(site="epoch", crops=crops)).items
    assert [item.HasField("captured_at") for item in items] == [True, False]
    with Client(server.url) as client:
        assert client.item(items[0].id).captured_at == "1970-01-01T00:00:00Z"
        assert client.item(items[1].id).captured_at is None


@pytest.mark.parametrize("cursor", ["-1", "x", "1.5", "9" * 400, "9" * 20, "1_0", "١", " 1"])
def test_a_cursor_is_one_that_a_listing_gave(
    server: ServerProcess, client: Client, people: People, cursor: str
) -> None:
    client.enroll("readable", [people[0][0]])
    response = httpx.get(f"{server.url}/gallery", params={"site": "readable", "cursor": cursor})
    assert response.status_code == 400
    assert "cursor" in response.json()["detail"]


@pytest.mark.parametrize("name", ["%00", "a%00b", "%ED%A0%80", "x" * 5000, "%F0%9F%98%80"])
def test_a_name_that_nothing_can_have_is_404(server: ServerProcess, name: str) -> None:
    for path in (f"/gallery/{name}", f"/gallery/{name}/image", f"/adapt/{name}", f"/sites/{name}"):
        assert httpx.get(server.url + path).status_code == 404


@pytest.mark.parametrize("where", BAD_FILTERS, ids=lambda where: str(where)[:40])
def test_a_filter_that_is_too_large_or_that_nothing_can_meet_is_refused(where: dict[str, Any]) -> None:
    with pytest.raises(BadRequest):
        filter_of(json.dumps(where))


def test_a_filter_of_one_moment_is_accepted() -> None:
    assert filter_of('{"captured_at": {"gte": 5, "lte": 5}}').columns


def test_the_query_s_camera_has_two_names_that_may_not_contradict_each_other() -> None:
    assert query_camera_of("c1", None) == "c1"
    assert query_camera_of(None, "c1") == "c1"
    assert query_camera_of("c1", "c1") == "c1"
    assert query_camera_of(None, None) is None
    with pytest.raises(BadRequest, match="contradict each other: camera is the older name"):
        query_camera_of("c1", "c2")


def test_the_text_of_a_filter_is_bounded() -> None:
    text = json.dumps({"identity": ["a" * 200] * 1000})
    with pytest.raises(BadRequest, match=rf"filter has {len(text)} characters; at most \d+ are accepted"):
        filter_of(text)
