"""Wrong words on the command line: one sentence before any work, and an exit status that is not zero.

A table for every command, which fails where a command has no row. What typer checks by itself (numbers,
choices) is tried for every option there is.
"""

import http.server
import io
import os
import threading
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest
import typer

from cli.output import written
from resight import app
from server.gallery.store import Store
from tests.test_own_data import draw
from tests.tiny import make_tiny_bundle, picture

COMMANDS: Any = typer.main.get_group(app)
LONG = "a" * 300  # letters, more than a file's name may have
MANY = "9" * 23  # digits
NOT_UTF8 = "\udcff"
DATA = "--dataset folders --data {t}/data"
OF = f"evaluate {{t}}/run {DATA}"
PICTURE = f"visualize {{t}}/run {DATA}"
RUN = "--out {t}/new"
ONE_OUT = "leave-one-out bot --data {t}/data --out {t}/new --datasets folders:a+folders:b"

# command -> words behind it, and what the sentence says. {t} is a folder with all kinds of files; `blank` is
# an empty word
ROWS: dict[str, list[tuple[str, str]]] = {
    "serve": [
        ("", "setting bundle is missing"),
        ("--bundle {t}/no", "no bundle at"),
        ("--bundle {t}/empty", "that is a file, and a bundle is a folder"),
        ("--bundle {t}/folder", "that folder is no bundle"),
        ("--bundle {t}/tiny.resight --port 70000", "--port 70000"),
        ("--bundle {t}/tiny.resight --port -1", "--port -1"),
        (f"--bundle {{t}}/tiny.resight --grpc-port {MANY}", f"--grpc-port {MANY}"),
        ("--bundle {t}/tiny.resight --data {t}/empty", "data folder {t}/empty cannot be used"),
        ("--bundle {t}/tiny.resight --data {t}/g1 --engine none", "unknown engine 'none'"),
        ("--bundle {t}/tiny.resight --data {t}/g1 --device gpu", "--device gpu"),
        ("--bundle {t}/tiny.resight --store words", "'words' is no database URL"),
        ("--bundle {t}/tiny.resight --tls-cert {t}/no --tls-key {t}/no", "--tls-cert {t}/no cannot be read"),
        (f"--bundle {{t}}/tiny.resight --data {{t}}/g1 --host {LONG}", "--host"),
    ],
    "enroll": [
        ("{t}/no --site s", "{t}/no does not exist"),
        ("{t}/folder --site s", "no .jpg, .png, .webp, .avif or .heic files"),
        ("/dev/zero --site s", "/dev/zero is a device and no file"),
        (f"{LONG} --site s", "File name too long"),
        ("{t}/crop.png", "missing option '--site'"),
        ("{t}/crop.png --site s --batch 0", "--batch"),
        ("{t}/crop.png --site s --pattern (", "--pattern is not a regular expression"),
        ("{t}/crop.png --site s --pattern x", "--pattern has no named group"),
        ("{t}/crop.png --site s --pattern (?P<identity>z)", "--pattern does not fit the file name crop.png"),
        ("{t}/crop.png --site s --server {nobody}", "no answer from {nobody}"),
        ("{t}/crop.png --site s --server {page}", "is it a Resight server?"),
    ],
    "query": [
        ("--site s", "nothing says what to look for"),
        ("{t}/no --site s", "{t}/no does not exist"),
        ("{t}/folder --site s", "{t}/folder is a folder"),
        ("{t}/crop.png --site s --item i", "contradict each other"),
        ("--vector {t}/no --item i --site s", "contradict each other"),
        ("--vector {t}/no --site s", "--vector {t}/no does not exist"),
        ("--vector {t}/folder --site s", "--vector {t}/folder is a folder"),
        ("--vector /dev/zero --site s", "is a device or a pipe"),
        ("--vector {t}/crop.png --site s", "--vector {t}/crop.png holds no vectors"),
        ("{t}/crop.png --site s --raw-space-id x", "--raw-space-id is of vectors"),
        ("{t}/crop.png --site s --threshold high", "--threshold"),
        (
            "{t}/crop.png --site s --rerank --group-by identity",
            "--rerank is for items and --group-by for people",
        ),
        ("{t}/crop.png --site s --server localhost:8000", "put http:// or https:// in front"),
        ("{t}/crop.png --site s --server http://[", "is no URL of a server"),
        ("{t}/crop.png --site s --server {nobody}", "no answer from {nobody}"),
        ("{t}/crop.png --site s --server {page}", "is it a Resight server?"),
    ],
    "list": [
        ("--site s --with-vectors", "--with-vectors needs --json"),
        ("--site s --server {nobody}", "no answer from {nobody}"),
        ("--site s --server {page}", "is it a Resight server?"),
    ],
    "update": [
        ("--site s i", "nothing says what to change"),
        ("--site s --identity ada", "one of them"),
        ("--site s i --all --identity ada", "one of them"),
        ("--site s i --metadata {", "--metadata is no JSON"),
        ("--site s i --metadata 3", "--metadata must be a JSON object"),
        ("--site s i j --identity ada --revision 1", "--revision is of one item"),
        ("--site s --filter { --identity ada --server {nobody}", "filter"),
        ("--site s i --identity ada --server {page}", "is it a Resight server?"),
    ],
    "clusters list": [
        ("--site s --server {page}", "is it a Resight server?"),
        ("", "missing option '--site'"),
    ],
    "clusters show": [("--site s i --server {nobody}", "no answer from {nobody}"), ("--site s", "'item'")],
    "clusters name": [
        ("--site s i a --server {page}", "is it a Resight server?"),
        ("--site s i", "'identity'"),
    ],
    "review list": [
        ("--site s --server {page}", "is it a Resight server?"),
        ("", "missing option '--site'"),
    ],
    "review answer": [
        ("--site s c same --server {nobody}", "no answer from {nobody}"),
        ("--site s c", "'answer'"),
        ("--site s c yes", "'yes' is not one of"),
    ],
    "gallery export": [
        ("--site s --out {t}/crop.png", "{t}/crop.png is no folder"),
        ("--site s --out {t}", "holds something else than an export"),
        ("--site s --out {t}/new --server {page}", "is it a Resight server?"),
    ],
    "gallery import": [
        ("{t}/no --site s", "{t}/no/items.jsonl cannot be read"),
        ("{t} --site s", "{t}/items.jsonl cannot be read"),
    ],
    "people list": [("--site s --server {page}", "is it a Resight server?"), ("", "missing option '--site'")],
    "people map": [
        ("--site s", "either --identity or --cluster"),
        ("--site s --identity a --cluster i", "either --identity or --cluster"),
        ("--site s --identity a --server {page}", "is it a Resight server?"),
    ],
    "people rename": [("--site s a b --server {nobody}", "no answer from {nobody}"), ("--site s a", "'to'")],
    "people merge": [("--site s a b --server {page}", "is it a Resight server?"), ("--site s a", "'into'")],
    "people split": [
        ("--site s a b", "'items'"),
        ("--site s a b i --server {page}", "is it a Resight server?"),
    ],
    "people hide": [("--site s a --server {page}", "is it a Resight server?")],
    "people feature": [("--site s a i --server {page}", "is it a Resight server?")],
    "people different": [
        ("--site s a", "either --item or --other"),
        ("--site s a --item i --other b", "either --item or --other"),
        ("--site s a --item i --server {page}", "is it a Resight server?"),
    ],
    "journal list": [("--site s --server {page}", "is it a Resight server?")],
    "journal undo": [("x", "'entry'"), ("1 --server {page}", "is it a Resight server?")],
    "erase": [
        ("--site s", "nothing says what to erase"),
        ("i --site s --all", "contradict each other"),
        ("--site s --all --server {page}", "is it a Resight server?"),
    ],
    "sites": [
        ("--server {page}", "is it a Resight server?"),
        ("--server {nobody}", "no answer from {nobody}"),
        (f"--server {{nobody}} --api-key {NOT_UTF8}", "API key"),
    ],
    "info": [
        ("--server {page}", "is it a Resight server?"),
        ("--server {nobody}", "no answer from {nobody}"),
    ],
    "image": [
        ("x", "missing option '--out'"),
        ("x --out {t}/empty", "{t}/empty is there already"),
        ("x --out {t}/no/x.jpg", "{t}/no"),
        ("x --out {t}/x.jpg --server {nobody}", "no answer from {nobody}"),
    ],
    "calibrate": [("--site s --server {page}", "is it a Resight server?"), ("", "missing option '--site'")],
    "recipes": [("--no", "no such option")],
    "recipes show": [("no-such-recipe", "no-such-recipe"), ("", "'name'")],
    "delete-site": [("--site s --server {page}", "is it a Resight server?"), ("", "missing option '--site'")],
    "adapt": [("--site s --server {page}", "is it a Resight server?"), ("--site s --seed x", "--seed")],
    "adapt-after": [
        ("--site s --off --hours 1", "--off contradicts"),
        ("--site s --hours 1 --server {page}", "is it a Resight server?"),
    ],
    "adapt-report": [
        ("job --out {t}/no/x.html", "there is no folder {t}/no"),
        ("job --out {t}/folder", "is a folder"),
        (f"job --out {LONG}.html", "File name too long"),
        ("job --out {t}/x.html --server {page}", "is it a Resight server?"),
    ],
    "rollback": [("--site s --server {page}", "is it a Resight server?")],
    "train": [
        (f"none --data {{t}} {RUN}", "no recipe 'none'"),
        (f"{{t}}/tab.yaml --data {{t}} {RUN}", "tab.yaml is no YAML"),
        (f"{{t}}/latin.yaml --data {{t}} {RUN}", "latin.yaml is no YAML"),
        (f"{{t}}/text.yaml --data {{t}} {RUN}", "expected a section of keys"),
        (f"{{t}}/folder.yaml --data {{t}} {RUN}", "no recipe"),
        (f"bot --data {{t}}/no {RUN}", "{t}/no"),
        (f"bot {RUN}", "--data ROOT (or RESIGHT_DATA) is missing"),
        (f"bot --data {{t}} {RUN} --set seed=-1", "--set seed=-1: seed is -1"),
        (f"bot --data {{t}} {RUN} --set seed={MANY}", "seed"),
        (f"bot --data {{t}} {RUN} --set seed=nan", "is not a int"),
        (f"bot --data {{t}} {RUN} --set optimiser.rate=.nan", "rate is nan"),
        (f"bot --data {{t}} {RUN} --set optimiser.rate=1e999", "rate is inf"),
        (f"bot --data {{t}} {RUN} --set sed=1", "unknown key 'sed'"),
        (f"bot --data {{t}} {RUN} --set dataset=[a", "is no YAML"),
        (f"bot --data {{t}} {RUN} --set dataset=none", "unknown dataset 'none'"),
        (f"bot --data {{t}} {RUN} --epochs 0", "--epochs"),
        ("bot --data {t}/data --out {t}/empty --set dataset=folders", "{t}/empty is a file"),
        (f"bot-small --data {{t}}/data {RUN} --set dataset=folders --set start={{t}}/no", "{t}/no"),
        (f"bot --data {{t}}/data {RUN} --set dataset=folders --device cuda", "no CUDA device"),
    ],
    "distill": [
        (f"{{t}}/no --data {{t}}/data {RUN} --set dataset=folders", "{t}/no"),
        (f"{{t}}/folder --data {{t}}/data {RUN} --set dataset=folders", "{t}/folder"),
        (f"{{t}}/x.xml --data {{t}}/data {RUN} --set dataset=folders", "{t}/x.xml"),
        (f"{{t}}/tiny.resight --data {{t}} --unlabeled {{t}} {RUN}", "leave one of them out"),
    ],
    "leave-one-out": [
        ("bot --datasets folders:a --data {t} --out {t}/r", "two datasets"),
        (f"{ONE_OUT} --target folders:c", "--target folders:c is none of"),
        (f"{ONE_OUT} --seeds 0", "--seeds"),
        (f"{ONE_OUT} --seeds {MANY}", "--seeds"),
        (f"{ONE_OUT} --set batch_crops=x", "is not a int"),
        (f"{ONE_OUT} --device cuda", "no CUDA device"),
        (ONE_OUT.replace(" bot ", " bot none "), "no recipe 'none'"),
        (ONE_OUT.replace("{t}/new", "{t}/empty"), "{t}/empty is a file"),
        (ONE_OUT, "a does not exist"),
    ],
    "evaluate": [
        (f"{OF} --json {{t}}/no/x.json", "there is no folder"),
        (f"{OF} --json {{t}}/folder", "is a folder"),
        (f"{OF} --json {{t}}/{LONG}", "File name too long"),
        (f"{OF} --split -1", "--split"),
        (f"{OF} --split {MANY}", "folders has one split"),
        (f"{OF} --expand -1", "--expand"),
        (f"{OF} --splits 2 --open-set", "--open-set is of one split"),
        (OF, "no checkpoint at"),
        (OF.replace("{t}/run", "{t}/bytes.safetensors"), "bytes.safetensors"),
        ("evaluate {t} --dataset folders:a+viper --data {t}", "names several"),
        ("evaluate {t} --dataset world:a-0..2 --data {t}", "names several"),
        ("evaluate {t} --dataset folders:a+b --data {t}", "a+b does not exist"),
        ("evaluate {t} --dataset folders --data {t}/no", "/no does not exist"),
        (f"{OF} --pattern x", "--pattern is for the dataset pattern"),
        (
            "evaluate {t} --dataset pattern --data {t}/data --pattern (",
            "( is not a regular expression",
        ),
    ],
    "visualize": [
        (f"{PICTURE} --out {{t}}/no/a.svg", "there is no folder"),
        (f"{PICTURE} --out {{t}}/a.gif", "a picture is called"),
        (f"{PICTURE} --out {{t}}/folder.png", "is a folder"),
        (f"{PICTURE} --out {{t}}/a.svg --seed {MANY}", "--seed"),
        (f"{PICTURE} --out {{t}}/a.png --what batchnorm --device cuda", "CPU"),
        (f"{PICTURE} --out {{t}}/a.png --what shapes", "--what"),
        (f"{PICTURE} --out {{t}}/a.png --matches {MANY}", "--matches"),
        (f"{PICTURE} --out {{t}}/a.png --queries {MANY}", "--queries"),
        (f"{PICTURE} --out {{t}}/a.png --what surface --points {MANY}", "--points"),
        (PICTURE.replace("{t}/run", "{t}/run {t}/run") + " --out {t}/a.png", "draws one model, not 2"),
        (f"{PICTURE} --out {{t}}/a.png", "no checkpoint at"),
    ],
    "export": [
        ("{t}/run --out {t}/x.resight", "no checkpoint"),
        ("{t}/bytes.safetensors --out {t}/x.resight", "bytes.safetensors"),
        ("{t}/run --out {t}/empty", "is a file or a link"),
        ("{t}/run --out {t}/data", "is no bundle: only bundles are replaced"),
        ("{t}/run --out {t}/empty/x.resight", "cannot be written"),
        (f"{{t}}/run --out {{t}}/x.resight --licence {NOT_UTF8}", "is not UTF-8"),
        ("{t}/run --out {t}/x.resight --metrics {t}/no", "--metrics {t}/no"),
        ("{t}/run --out {t}/x.resight --metrics {t}/bytes", "--metrics {t}/bytes"),
    ],
    "embed": [
        ("{t}/no --out {t}/x.npz --bundle {t}/tiny.resight", "does not exist"),
        ("{t}/crop.png --out {t}/x.npy --bundle {t}/tiny.resight", "NAME.npz"),
        ("{t}/crop.png --out {t}/no/x.npz --bundle {t}/tiny.resight", "there is no folder"),
        ("{t}/crop.png --out {t}/x.npz --bundle {t}/no", "no bundle at"),
        ("{t}/bytes.png --out {t}/x.npz --bundle {t}/tiny.resight", "bytes.png: not a"),
        ("{t}/crop.png --out {t}/x.npz --bundle {t}/tiny.resight --engine x", "unknown engine 'x'"),
    ],
    "tune": [
        ("", "setting bundle is missing"),
        ("--bundle {t}/no", "no bundle at"),
        ("--bundle {t}/tiny.resight --data {t}/empty", "data folder {t}/empty cannot be used"),
        ("--bundle {t}/tiny.resight --data {t}/g2 --engine none", "unknown engine 'none'"),
        ("--bundle {t}/tiny.resight --data {t}/g2 --engine onnxruntime", "nothing can be tuned"),
        ("--bundle {t}/tiny.resight --store words", "'words' is no database URL"),
    ],
    "synth": [
        ("", "--out FOLDER is missing"),
        ("--out {t}/w --identities 1", "identities=1: needs at least 5"),
        (f"--out {{t}}/w --identities {MANY}", "at most 500000"),
        (f"--out {{t}}/w --sites {MANY}", "at most"),
        ("--out {t}/w --seed -1", "seed=-1"),
        (f"--out {{t}}/w --seed {MANY}", "at most"),
        ("--out {t}/w --severity nan", "severity=nan"),
        ("--out {t}/w --workers -1", "--workers"),
        ("--out {t}/w --size 1x", "--size 1x"),
        (f"--out {{t}}/w --size {MANY}x64", "at most 4096"),
        ("--out {t}/w --kinds x", "unknown kind of site 'x'"),
        ("--out {t}/folder.full", "holds no world.json"),
        ("--out {t}/empty", "holds no world.json"),
        ("--sheet {t}/no/x.png", "there is no folder"),
    ],
    "data check": [
        ("none --data {t}", "unknown dataset 'none'"),
        ("folders --data {t}/no", "/no does not exist"),
        ("folders --data {t}/empty", "/empty holds neither"),
        ("folders --data {t}/data/train", "are read by pattern:FOLDER with --pattern"),
        ("folders --data {t}/data --json {t}/no/x.json", "there is no folder"),
        ("folders --data {t}/data --sheet {t}/x.txt", "a picture is called"),
        ("list:list.csv --data {t}", "list.csv"),
    ],
    "bundle info": [
        ("{t}/no", "no bundle at"),
        ("{t}/bytes", "that is a file"),
        (f"{{t}}/{LONG}", "File name too long"),
        ("{t}/torn.resight", "manifest"),
    ],
    "bundle card": [("{t}/no", "no bundle at"), ("{t}/torn.resight", "manifest")],
    "bundle quantize": [
        ("{t}/no --dataset folders:data --data {t}", "no bundle at"),
        ("{t}/torn.resight --dataset folders:data --data {t}", "manifest"),
        ("{t}/tiny.resight --dataset none --data {t}", "unknown dataset 'none'"),
        ("{t}/tiny.resight --dataset folders:data+folders:data --data {t}", "one"),
        ("{t}/tiny.resight --dataset folders:data --data {t} --crops 3", "--crops"),
        ("{t}/tiny.resight --dataset folders:data --data {t}", "training crops, and --crops is 512"),
        ("{t}/tiny.resight --dataset folders:data --crops-of folders:no --data {t}", "no"),
    ],
    "bundle wrap": [
        ("{t}/no.onnx", "does not exist"),
        ("{t}/folder", "is a folder"),
        ("{t}/bytes.onnx", "cannot be read as ONNX"),
        ("{t}/x.xml", "no network that OpenVINO can read"),
        ("{t}/bytes.onnx --std 0", "nothing can be divided by 0"),
        ("{t}/bytes.onnx --mean 1,2", "--mean 1,2: three numbers"),
        ("{t}/bytes.onnx --std nan", "--std nan"),
        ("{t}/bytes.onnx --size 0x9", "--size 0x9"),
        (f"{{t}}/bytes.onnx --name {NOT_UTF8}", "is not UTF-8"),
    ],
    "weights": [("none", "no such command 'none'")],
    "weights convert": [
        ("{t}/no.pth --out {t}/x.safetensors", "is no file"),
        ("{t}/folder --out {t}/x.safetensors", "is no file"),
        ("{t}/bytes.pth --out {t}/x.safetensors", "bytes.pth"),
        ("{t}/empty --out {t}/x.safetensors", "empty"),
        ("{t}/bytes.pth --out {t}/x.pth", "NAME.safetensors"),
        ("{t}/bytes.pth --out {t}/no/x.safetensors", "there is no folder"),
    ],
    "key add": [
        ("read --data {t}/no", "{t}/no"),
        ("all --data {t}/gallery", "there are read, write, admin"),
        ("read --store words", "is no database URL"),
    ],
    "key list": [("--data {t}/no", "{t}/no"), ("--data {t}/empty", "{t}/empty")],
    "key revoke": [
        ("nobody --data {t}/no", "{t}/no"),
        ("nobody --data {t}/gallery", "there is no key nobody"),
    ],
}


def commands(group: Any = None, before: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Every command that can be typed, like ("bundle info", the command)."""
    for name, command in (group or COMMANDS).commands.items():
        inside = hasattr(command, "commands")
        if not inside or command.invoke_without_command:
            yield " ".join((*before, name)), command
        if inside:
            yield from commands(command, (*before, name))


def refused(words: list[str]) -> str:
    """The one sentence with which a command ends."""
    printed, sentences = io.StringIO(), io.StringIO()
    with redirect_stdout(printed), redirect_stderr(sentences), pytest.raises(SystemExit) as ended:
        COMMANDS.main(words, "resight")
    assert ended.value.code in (1, 2), printed.getvalue()
    lines = [line for line in sentences.getvalue().splitlines() if not line.startswith("note: ")]
    assert len(lines) == 1 and lines[0].startswith("resight: "), sentences.getvalue()
    return lines[0]


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A folder with files of all kinds, a port where nobody listens, and a server that is no Resight."""
    folder = tmp_path_factory.mktemp("words")
    for name in ("empty", "empty.jpg"):
        (folder / name).touch()
    for name in ("bytes", "bytes.png", "bytes.onnx", "bytes.pth", "bytes.safetensors", "list.csv"):
        (folder / name).write_bytes(bytes(range(255, 0, -1)) * 9)
    (folder / "text.yaml").write_text("words\n")
    (folder / "tab.yaml").write_text("optimiser:\n\tepochs: 2\n")
    (folder / "latin.yaml").write_bytes("method: größe\n".encode("latin-1"))
    (folder / "x.xml").write_text("<page/>\n")
    (folder / "crop.png").write_bytes(picture(0))
    for name in ("folder", "folder.yaml", "folder.png", "folder.full/below", "torn.resight", "run"):
        (folder / name).mkdir(parents=True)
    (folder / "torn.resight/manifest.json").write_bytes(b"\xff{")
    make_tiny_bundle(folder)
    people = ("anna", "ben")
    draw(
        folder / "data",
        *(f"{part}/{p}/c{c}_1.png" for part in ("train", "query") for p in people for c in "12"),
    )
    draw(folder / "data", *(f"gallery/{p}/c3_1.png" for p in people))
    Store(folder / "gallery").close()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        page = f"http://127.0.0.1:{server.server_port}"
        yield {"t": str(folder), "page": page, "nobody": "http://127.0.0.1:9"}
        server.shutdown()


class Page(http.server.BaseHTTPRequestHandler):
    """Answers a page to everything."""

    def do_GET(self) -> None:
        """Reads the request and answers."""
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<html>")

    do_POST = do_DELETE = do_PUT = do_PATCH = do_GET

    def log_message(self, *values: object) -> None:
        """Says nothing."""


def test_every_command_has_rows() -> None:
    assert set(ROWS) == {name for name, _ in commands()}


@pytest.mark.parametrize(
    ("command", "words", "said"), [(c, *row) for c, rows in ROWS.items() for row in rows]
)
def test_wrong_words_are_one_sentence(command: str, words: str, said: str, places: dict[str, str]) -> None:
    typed = words if words.startswith(f"{command} ") else f"{command} {words}"
    before = {path for path in Path(places["t"]).rglob("*")}
    sentence = refused([place(word, places) for word in typed.split()])
    assert place(said, places) in sentence
    left = {path for path in Path(places["t"]).rglob("*")} - before
    assert not left or command == "serve", left  # nothing was begun


def place(word: str, places: dict[str, str]) -> str:
    """The word with the places in it; a regex has braces of its own."""
    for name, value in places.items():
        word = word.replace(f"{{{name}}}", value)
    return word


@pytest.mark.parametrize("name", [name for name, _ in commands()])
def test_what_is_no_number_or_none_of_the_choices_is_one_sentence(name: str) -> None:
    command = dict(commands())[name]
    for option in command.params:
        kind = str(getattr(option, "type_descriptor", ""))
        if option.param_type_name == "option" and any(word in kind for word in ("int", "float", "Literal")):
            flag = option.opts[0]
            if not getattr(option, "is_flag", False):
                assert f"'{flag}'" in refused([*name.split(), flag, "many"])
    if name not in ("serve", "weights"):  # which take no arguments
        assert "no such option: --none" in refused([*name.split(), "--none"])


def test_trying_whether_a_file_can_be_written_leaves_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "there").write_text("ours")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe")
    for name in ("there", "link", "pipe", "new"):
        written("--json", tmp_path / name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "pipe", "there"]
    assert (tmp_path / "there").read_text() == "ours"
