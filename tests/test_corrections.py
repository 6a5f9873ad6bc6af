"""Corrections over both protocols, the client and the command line: labels, people by name, journal, undo."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Iterator
from typing import Any

import grpc
import httpx
import pytest
from fastapi import FastAPI
from google.protobuf.json_format import MessageToDict
from resight_client import corrected as parse
from resight_client import corrections as calls
from resight_client import values
from resight_client.calls import Call

from cli.connection import options_for_fields
from proto.resight.v1 import resight_pb2 as pb
from proto.resight.v1 import resight_pb2_grpc as rpc
from server.auth import Auth
from server.gallery.records import NewItem
from server.http.app import create_app
from server.service import Service
from tests.grpc_here import refusal, served
from tests.tiny import make_tiny_bundle, open_tiny, picture

SHOWN = {"ada": 3, "bea": 2, None: 1}  # items by identity
_numbers = itertools.count()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service for all tests here; each uses a site of its own."""
    folder = tmp_path_factory.mktemp("corrections")
    opened = open_tiny(make_tiny_bundle(folder), folder / "data")
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def app(service: Service) -> FastAPI:
    """The HTTP application over the service, without keys."""
    return create_app(service, Auth(service.store, required=False))


@pytest.fixture(scope="module")
def channel(service: Service) -> Iterator[grpc.Channel]:
    """A connection to a gRPC server over the same service."""
    with served(service, required=False) as opened:
        yield opened


@pytest.fixture
def site(service: Service) -> tuple[str, list[str]]:
    """A site with the items of `SHOWN` at camera door, and their ids."""
    name = f"site-{next(_numbers)}"
    identities = [identity for identity, count in SHOWN.items() for _ in range(count)]
    records = [NewItem("door", identity, 1000.0 + n, {"n": n}) for n, identity in enumerate(identities)]
    images = [picture(n) for n in range(len(records))]
    return name, [item.id for item in asyncio.run(service.enrolling.enroll(name, images, records)).items]


def send(app: FastAPI, call: Call) -> httpx.Response:
    """A call of the client, through the whole HTTP application."""

    async def answer() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            return await client.request(call.method, call.path, **call.options)

    return asyncio.run(answer())


def done(app: FastAPI, call: Call) -> Any:
    """What a call answers that succeeds."""
    response = send(app, call)
    assert response.status_code == 200, response.text
    return response.json()


def refused(app: FastAPI, call: Call, status: int = 409) -> dict[str, Any]:
    """The problem that a call ends with."""
    response = send(app, call)
    assert response.status_code == status, response.text
    body: dict[str, Any] = response.json()
    return body


def denials(service: Service, site: str) -> set[tuple[int, str]]:
    """Items of a site, by seq, and names that they are said not to show."""
    denied = service.store.people.said(site).denied
    return {(seq, name) for seq, names in denied.items() for name in names}


def people(app: FastAPI, site: str, include_hidden: bool = False) -> dict[str, int]:
    """Items by name."""
    page = parse.people(done(app, calls.people(site, None, include_hidden, None, 100)))
    return {person.identity: person.items for person in page.people}


def found(service: Service, site: str, **query: Any) -> list[str | None]:
    """Identities of the items that a query ranks."""
    answer = asyncio.run(service.querying.query(site, **query))
    return [match.item.identity for match in answer.matches]


def test_an_item_gets_other_labels_and_the_next_revision(app: FastAPI, site: tuple[str, list[str]]) -> None:
    _, ids = site
    labels = {"identity": "Jose\u0301", "camera": None, "captured_at": "2026-05-04", "metadata": {"n": 9}}
    answer = parse.item_corrected(done(app, calls.update(ids[0], labels, 1, None)))
    assert answer.entry is not None
    item = answer.item
    assert (item.identity, item.camera, item.metadata, item.revision) == ("Jos\u00e9", None, {"n": 9}, 2)
    assert item.captured_at == "2026-05-04T00:00:00Z"
    assert values.item(done(app, Call("GET", f"/gallery/{ids[0]}", {}))) == item
    again = parse.item_corrected(done(app, calls.update(ids[0], {"metadata": {"n": 9}}, None, None)))
    assert (again.entry, again.item.revision) == (None, 2)  # everything was already so


def test_the_last_writer_is_told_that_somebody_was_faster(app: FastAPI, site: tuple[str, list[str]]) -> None:
    name, ids = site
    done(app, calls.update(ids[0], {"identity": "first"}, 1, None))
    problem = refused(app, calls.update(ids[0], {"identity": "second"}, 1, None))
    assert (problem["item"], problem["revision"]) == (ids[0], 2)
    assert "was changed meanwhile" in problem["detail"]
    bulk = calls.update_items(name, {"identity": "second"}, ids[:2], None, False, {ids[0]: 1, ids[1]: 1})
    assert refused(app, bulk)["item"] == ids[0]
    assert people(app, name) == {"ada": 2, "bea": 2, "first": 1}


def test_many_items_are_updated_all_or_none(app: FastAPI, site: tuple[str, list[str]]) -> None:
    name, ids = site
    assert refused(
        app, calls.update_items(name, {"camera": "hall"}, [ids[0], "0" * 32], None, False, None), 404
    )
    assert values.item(done(app, Call("GET", f"/gallery/{ids[0]}", {}))).camera == "door"
    where = {"identity": "ada", "metadata": {"n": {"gte": 1}}}
    answer = parse.corrected(
        done(app, calls.update_items(name, {"camera": "hall"}, None, where, False, None))
    )
    assert answer.items == 2
    page = parse.people(done(app, calls.people(name, "ada", False, None, 10)))
    assert page.people[0].cameras == ["door", "hall"]


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ({"values": {}, "all": True}, "nothing says what to change"),
        ({"values": {"identity": "x"}}, "a filter with a condition"),
        ({"values": {"identity": "x"}, "filter": {}}, "a filter with a condition"),
        ({"values": {"identity": "x"}, "filter": {"camera": "a"}, "all": True}, "send one of"),
        ({"values": {"captured_at": "x"}, "all": True}, "values.captured_at"),
        ({"values": {"identiti": "x"}, "all": True}, "identiti"),
        ({"values": {"identity": "x"}, "items": ["a"], "revisions": {"b": 1}}, "none of the items"),
        ({"values": {"identity": "x"}, "filter": {"camra": "a"}}, "camra"),
    ],
)
def test_an_update_that_is_not_clear_changes_nothing(
    app: FastAPI, site: tuple[str, list[str]], body: dict[str, Any], word: str
) -> None:
    name, _ = site
    problem = refused(app, Call("POST", "/gallery/update", {"json": {"site": name, **body}}), 400)
    assert word in problem["detail"]
    assert people(app, name) == {"ada": 3, "bea": 2}


def test_people_are_listed_with_where_and_when_they_were_seen(
    app: FastAPI, site: tuple[str, list[str]]
) -> None:
    name, ids = site
    first = parse.people(done(app, calls.people(name, None, False, None, 1)))
    (ada,) = first.people
    assert (ada.identity, ada.items, ada.cameras, ada.hidden) == ("ada", 3, ["door"], False)
    assert (ada.first_seen, ada.last_seen) == ("1970-01-01T00:16:40Z", "1970-01-01T00:16:42Z")
    assert ada.feature == ids[2]  # the newest, until one is chosen
    done(app, calls.person("feature", name, "ada", item=ids[0]))
    assert parse.people(done(app, calls.people(name, "ada", False, None, 9))).people[0].feature == ids[0]
    second = parse.people(done(app, calls.people(name, None, False, first.cursor, 1)))
    assert ([person.identity for person in second.people], second.cursor) == (["bea"], None)
    assert "does not show" in refused(app, calls.person("feature", name, "ada", item=ids[4]))["detail"]


def test_a_name_that_somebody_has_needs_a_merge_that_says_how_alike_they_are(
    app: FastAPI, site: tuple[str, list[str]]
) -> None:
    name, _ = site
    assert done(app, calls.person("rename", name, "bea", to="cy"))["items"] == 2
    problem = refused(app, calls.person("rename", name, "cy", to="ada"))
    assert "already" in problem["detail"]
    merged = parse.corrected(done(app, calls.person("merge", name, "cy", into="ada")))
    assert merged.alike is not None
    assert (merged.alike.best, merged.alike.mean) == (problem["best"], problem["mean"])
    assert -1 <= merged.alike.mean <= 1
    assert people(app, name) == {"ada": 5}


def test_nobody_is_merged_with_themselves_or_with_nobody(app: FastAPI, site: tuple[str, list[str]]) -> None:
    name, _ = site
    for action, field in (("merge", "into"), ("rename", "to")):
        itself = refused(app, calls.person(action, name, "ada", **{field: "ada"}), 400)
        assert "both names are 'ada'" in itself["detail"]
        refused(app, calls.person(action, name, "ada", **{field: ""}), 400)
    refused(app, calls.person("merge", name, "ada", into="nobody"), 404)
    refused(app, calls.person("merge", name, "nobody", into="ada"), 404)
    refused(app, calls.person("rename", name, "nobody", to="new"), 404)
    assert people(app, name) == {"ada": 3, "bea": 2}


def test_items_are_split_off_unless_somebody_changed_them_meanwhile(
    app: FastAPI, site: tuple[str, list[str]]
) -> None:
    name, ids = site
    assert done(app, calls.person("split", name, "ada", items=ids[:1], to="cy"))["items"] == 1
    assert ids[0] in refused(app, calls.person("split", name, "ada", items=ids[:2], to="dan"))["detail"]
    assert "already" in refused(app, calls.person("split", name, "ada", items=ids[1:2], to="bea"))["detail"]
    assert people(app, name) == {"ada": 2, "bea": 2, "cy": 1}


def test_hidden_people_are_no_match_until_they_are_asked_for(
    service: Service, app: FastAPI, channel: grpc.Channel, site: tuple[str, list[str]]
) -> None:
    name, ids = site
    done(app, calls.person("hide", name, "ada", hidden=True))
    assert people(app, name) == {"bea": 2}
    assert people(app, name, include_hidden=True) == {"ada": 3, "bea": 2}
    for group_by in (None, "identity"):
        answer = asyncio.run(service.querying.query(name, [picture(0)], group_by=group_by))
        shown = answer.people.people if answer.people is not None else [m.item for m in answer.matches]
        assert {each.identity for each in shown} == {"bea", None}
    assert found(service, name, images=[picture(0)], include_hidden=True)[0] == "ada"
    request = pb.QueryRequest(site=name, images=[picture(0)], include_hidden=True)
    assert rpc.GalleryStub(channel).Query(request, timeout=20).matches[0].item.id == ids[0]
    done(app, calls.person("hide", name, "ada", hidden=False))
    assert found(service, name, images=[picture(0)])[0] == "ada"


def test_not_this_person_is_remembered_and_obeyed(
    service: Service, app: FastAPI, site: tuple[str, list[str]]
) -> None:
    name, ids = site
    said = parse.corrected(done(app, calls.person("different", name, "ada", item=ids[2])))
    assert people(app, name) == {"ada": 2, "bea": 2}  # it lost the name
    assert "ada" not in found(service, name, item_id=ids[2])
    assert len(found(service, name, item_id=ids[0])) == 4  # all others but that one
    problem = refused(app, calls.update(ids[2], {"identity": "ada"}, None, None))
    assert problem["entry"] == said.entry
    done(app, calls.update(ids[2], {"identity": "bea"}, None, None))
    assert "was said not to be" in refused(app, calls.person("merge", name, "bea", into="ada"))["detail"]
    done(app, calls.person("rename", name, "ada", to="ada lovelace"))  # what was said follows the name
    refused(app, calls.update(ids[2], {"identity": "ada lovelace"}, None, None))
    done(app, calls.person("different", name, "ada lovelace", item=ids[2], different=False))
    done(app, calls.update(ids[2], {"identity": "ada lovelace"}, None, None))


def test_one_person_twice_is_refused_in_words_that_fit_every_caller(
    app: FastAPI, site: tuple[str, list[str]]
) -> None:
    name, _ = site
    for call, fields in (
        (calls.person("merge", name, "ada", into="ada"), "identity and into"),
        (calls.person("rename", name, "ada", to="ada"), "identity and to"),
        (calls.person("different", name, "ada", other="ada"), "identity and other"),
        (calls.person("hide", name, ""), "(identity)"),
    ):
        detail = refused(app, call, 400)["detail"]
        assert fields in detail
        assert options_for_fields(detail) == detail  # arguments of commands, and no options
    assert people(app, name) == {"ada": 3, "bea": 2}


def test_what_was_said_of_a_renamed_person_follows_when_the_rename_is_undone(
    service: Service, app: FastAPI, site: tuple[str, list[str]]
) -> None:
    name, ids = site
    renamed = parse.corrected(done(app, calls.person("rename", name, "ada", to="ada lovelace"))).entry
    said = parse.corrected(done(app, calls.person("different", name, "ada lovelace", item=ids[3]))).entry
    done(app, calls.person("different", name, "ada lovelace", other="bea"))
    done(app, calls.person("hide", name, "ada lovelace"))
    undone = parse.corrected(done(app, calls.undo(renamed))).entry
    assert people(app, name, include_hidden=True).keys() == {"ada", "bea"}
    assert "ada" not in people(app, name)  # hidden
    problem = refused(app, calls.update(ids[3], {"identity": "ada"}, None, None))
    assert problem["entry"] == said
    assert f"by entry {said}, as 'ada lovelace' was called who is 'ada' by now" in problem["detail"]
    assert "different people" in refused(app, calls.person("merge", name, "bea", into="ada"))["detail"]
    assert refused(app, calls.undo(said))["entry"] == undone  # under that name nothing is said any more
    again = parse.corrected(done(app, calls.undo(undone))).entry
    assert refused(app, calls.update(ids[3], {"identity": "ada lovelace"}, None, None))["entry"] == said
    assert {n for _, n in denials(service, name)} == {"ada lovelace"}
    done(app, calls.undo(again))
    done(app, calls.person("different", name, "ada", item=ids[3], different=False))
    done(app, calls.update(ids[3], {"identity": "ada"}, None, None))


def test_a_renamed_person_whose_new_name_others_bear_leaves_them_what_was_said(
    service: Service, app: FastAPI, site: tuple[str, list[str]]
) -> None:
    name, ids = site
    renamed = parse.corrected(done(app, calls.person("rename", name, "ada", to="cy"))).entry
    asyncio.run(service.enrolling.enroll(name, [picture(9)], [NewItem("door", "cy")]))
    done(app, calls.person("different", name, "cy", item=ids[3]))
    done(app, calls.undo(renamed))
    for person in ("ada", "cy"):
        refused(app, calls.update(ids[3], {"identity": person}, None, None))


def test_what_was_said_of_a_name_before_somebody_got_it_by_a_rename_stays_with_the_name(
    service: Service, app: FastAPI, site: tuple[str, list[str]]
) -> None:
    name, ids = site
    asyncio.run(service.enrolling.enroll(name, [picture(9)], [NewItem("door", "cy")]))
    done(app, calls.person("different", name, "cy", other="bea"))
    done(app, calls.person("different", name, "cy", item=ids[3]))
    done(app, calls.update_items(name, {"identity": None}, None, {"identity": "cy"}, False, None))
    renamed = parse.corrected(done(app, calls.person("rename", name, "ada", to="cy"))).entry
    for facts in ({"other": "bea"}, {"item": ids[3]}):
        back = parse.corrected(
            done(app, calls.person("different", name, "cy", different=False, **facts))
        ).entry
        done(app, calls.undo(back))
    done(app, calls.undo(renamed))
    assert {n for _, n in denials(service, name)} == {"cy"}
    done(app, calls.update(ids[3], {"identity": "ada"}, None, None))
    done(app, calls.person("merge", name, "bea", into="ada"))


def test_what_was_denied_holds_for_the_item_and_not_for_its_image_enrolled_again(
    service: Service, app: FastAPI
) -> None:
    name, images, records = f"site-{next(_numbers)}", [picture(0)], [NewItem("door", "ada")]
    asyncio.run(service.enrolling.enroll(name, [picture(1)], records))
    (denied,) = asyncio.run(service.enrolling.enroll(name, images, records, idempotency_key=name)).items
    done(app, calls.person("different", name, "ada", item=denied.id))
    (repeated,) = asyncio.run(service.enrolling.enroll(name, images, records, idempotency_key=name)).items
    assert (repeated.id, repeated.identity) == (denied.id, None)  # a repeated request gives no name back
    (again,) = asyncio.run(service.enrolling.enroll(name, images, records)).items
    assert again.id != denied.id
    assert people(app, name) == {"ada": 2}
    assert found(service, name, item_id=denied.id) == []
    assert found(service, name, item_id=again.id) == ["ada"]
    refused(app, calls.update(denied.id, {"identity": "ada"}, None, None))
    done(app, calls.person("different", name, "ada", item=again.id))  # it is said of each item
    assert people(app, name) == {"ada": 1}


def test_different_people_are_not_merged_and_do_not_find_each_other(
    service: Service, app: FastAPI, site: tuple[str, list[str]]
) -> None:
    name, ids = site
    said = done(app, calls.person("different", name, "ada", other="bea"))
    assert "bea" not in found(service, name, item_id=ids[0])
    assert "ada" not in found(service, name, item_id=ids[4])
    assert "different people" in refused(app, calls.person("merge", name, "bea", into="ada"))["detail"]
    done(app, calls.undo(said["entry"]))
    assert done(app, calls.person("merge", name, "bea", into="ada"))["items"] == 2


def test_every_correction_stands_in_the_journal_and_can_be_undone(
    app: FastAPI, site: tuple[str, list[str]]
) -> None:
    name, ids = site
    made = [
        done(app, calls.update(ids[0], {"captured_at": 5.5}, None, None)),
        done(app, calls.person("feature", name, "ada", item=ids[1])),
        done(app, calls.person("merge", name, "ada", into="bea")),
        done(app, calls.person("hide", name, "bea", hidden=True)),
    ]
    page = parse.journal(done(app, calls.journal(name, None, None, 10)))
    assert [entry.entry for entry in page.entries] == [each["entry"] for each in reversed(made)]
    assert [entry.action for entry in page.entries] == ["hide", "merge", "feature", "update"]
    (change,) = page.entries[-1].changes
    assert (change.field, change.item) == ("captured_at", ids[0])
    assert (change.before, change.after) == ("1970-01-01T00:16:40Z", "1970-01-01T00:00:05.500000Z")
    assert page.entries[2].changes[0].after == ids[1]
    mine = parse.journal(done(app, calls.journal(name, ids[0], None, 10))).entries
    assert [entry.action for entry in mine] == ["merge", "update"]
    for each in reversed(made):
        done(app, calls.undo(each["entry"]))
    item = values.item(done(app, Call("GET", f"/gallery/{ids[0]}", {})))
    assert (item.captured_at, people(app, name)) == ("1970-01-01T00:16:40Z", {"ada": 3, "bea": 2})
    entry = parse.entry(done(app, calls.entry(made[0]["entry"])))
    assert entry.undone_by is not None
    assert entry.actor == "local"


def test_an_undo_names_what_stands_in_its_way_and_can_be_undone(
    app: FastAPI, site: tuple[str, list[str]]
) -> None:
    name, ids = site
    merged = done(app, calls.person("merge", name, "ada", into="bea"))["entry"]
    later = done(app, calls.update(ids[0], {"identity": "cy"}, None, None))["entry"]
    problem = refused(app, calls.undo(merged))
    assert (problem["entry"], f"undo entry {later} first" in problem["detail"]) == (later, True)
    done(app, calls.undo(later))
    undone = done(app, calls.undo(merged))["entry"]
    assert f"was undone by entry {undone}" in refused(app, calls.undo(merged))["detail"]
    assert people(app, name) == {"ada": 3, "bea": 2}
    done(app, calls.undo(undone))
    assert people(app, name) == {"bea": 5}
    refused(app, calls.undo(10**9), 404)


def test_both_protocols_do_the_same(
    app: FastAPI, channel: grpc.Channel, service: Service, site: tuple[str, list[str]]
) -> None:
    name, ids = site
    stub = rpc.CorrectionsStub(channel)
    labels = pb.Labels(identity="cy", no_captured_at=True, metadata_json="")
    item = stub.UpdateItem(pb.UpdateItemRequest(item_id=ids[5], values=labels, revision=1), timeout=20).item
    assert (item.identity, item.HasField("captured_at"), item.revision) == ("cy", False, 2)
    bulk = pb.UpdateItemsRequest(
        site=name, filter_json='{"identity": "ada"}', values=pb.Labels(camera="hall")
    )
    assert stub.UpdateItems(bulk, timeout=20).items == 3
    split = pb.SplitRequest(site=name, identity="ada", items=ids[:1], to="dan")
    assert stub.Split(split, timeout=20).items == 1
    assert stub.Rename(pb.RenameRequest(site=name, identity="dan", to="eve"), timeout=20).items == 1
    merged = stub.Merge(pb.MergeRequest(site=name, identity="eve", into="ada"), timeout=20)
    assert (merged.items, merged.HasField("alike")) == (1, True)
    stub.Hide(pb.HideRequest(site=name, identity="ada"), timeout=20)
    stub.SetFeature(pb.SetFeatureRequest(site=name, identity="bea", item=ids[3]), timeout=20)
    stub.SetDifferent(pb.SetDifferentRequest(site=name, identity="bea", other="ada"), timeout=20)
    status, sentence = refusal(stub.Merge, pb.MergeRequest(site=name, identity="bea", into="ada"))
    assert (status, "different people" in sentence) == (grpc.StatusCode.FAILED_PRECONDITION, True)
    listed = stub.ListPeople(pb.ListPeopleRequest(site=name, include_hidden=True), timeout=20).people
    by_http = done(app, calls.people(name, None, True, None, 100))["people"]
    for one, other in zip(listed, by_http, strict=True):
        assert (one.identity, one.items, list(one.cameras)) == (
            other["identity"],
            other["items"],
            other["cameras"],
        )
        assert (one.hidden, one.feature) == (other["hidden"], other["feature"])
    journal = stub.ListJournal(pb.ListJournalRequest(site=name), timeout=20).entries
    over_http = done(app, calls.journal(name, None, None, 100))["entries"]
    assert [entry.entry for entry in journal] == [entry["entry"] for entry in over_http]
    for theirs, ours in zip(journal[0].changes, over_http[0]["changes"], strict=True):
        assert json.loads(theirs.after_json) == ours["after"]
        assert MessageToDict(theirs)["field"] == ours["field"]
    one_entry = stub.GetEntry(pb.EntryRequest(entry=journal[0].entry), timeout=20)
    assert one_entry.action == "different"
    assert stub.Undo(pb.EntryRequest(entry=journal[0].entry), timeout=20).HasField("entry")


def test_entries_are_deleted_after_their_time(
    service: Service, app: FastAPI, site: tuple[str, list[str]]
) -> None:
    name, ids = site
    old = done(app, calls.update(ids[0], {"identity": "cy"}, None, None))["entry"]
    service.store.journal.dropped_at -= 3_600
    assert service.store.journal.drop_old(0.0) > 0
    refused(app, calls.undo(old), 404)
    assert done(app, calls.journal(name, None, None, 10))["entries"] == []
    assert "ada" not in str(service.store.audit.lines())  # which goes on saying who corrected how many items


def test_the_command_line_corrects_and_says_how_to_undo(capsys: pytest.CaptureFixture[str]) -> None:
    from cli.corrections import _change, say_corrected

    say_corrected(parse.Corrected("lobby", 7, 3), "merged")
    assert (
        capsys.readouterr().out == "merged: 3 item(s) of site lobby; undo it with: resight journal undo 7\n"
    )
    say_corrected(parse.Corrected("lobby", None, 0), "merged")
    assert "already so" in capsys.readouterr().out
    assert _change(parse.Change("hidden", None, "ada", None, False, True)) == "hidden of ada: false -> true"
