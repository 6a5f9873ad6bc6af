"""The rooms of the house and which way their arrows run."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = {
    "reid",
    "training",
    "export",
    "server",
    "proto",
    "clients",
    "resight_client",
    "benchmarks",
    "cli",
    "resight",
}
MAY_IMPORT = {
    "reid": {"reid"},
    "training": {"training", "reid"},
    "export": {"export", "reid"},
    "server": {"server", "reid", "proto"},
    "proto": {"proto"},
    "clients": {"resight_client"},
}


def imports_of(path: Path) -> set[str]:
    """Top-level names that a file imports anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found


def imports_of_modules(path: Path) -> set[str]:
    """Whole names of the modules that a file imports from, or imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def test_an_efficientnet_needs_no_torchvision() -> None:
    """So the shipped demo adapts beside a torch that torchvision does not fit."""
    code = (
        "import sys; sys.modules['torchvision'] = None\n"
        "import server.worker, reid.adaptation.bnta, reid.engines.pytorch\n"
        "from reid.models.build import build\nfrom reid.models.spec import ModelSpec\n"
        "build(ModelSpec('efficientnet-lite0', 96, 48))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert ended.returncode == 0, ended.stderr


def test_openvino_reports_to_nobody_that_it_was_imported() -> None:
    code = "import reid.engines.open_vino, sys; print(*[m for m in sys.modules if 'telemetry' in m])"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    loaded = ended.stdout.split()
    assert "openvino_telemetry.main" not in loaded
    assert "openvino.tools.ovc.telemetry_stub" in loaded


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_arrows_run_down_only(room: str) -> None:
    files = list((ROOT / room).rglob("*.py"))
    assert files
    for path in files:
        forbidden = imports_of(path) & ROOMS - MAY_IMPORT[room]
        assert not forbidden, f"{path.relative_to(ROOT)} imports {forbidden}"


@pytest.mark.parametrize(
    "what", ["server.main", "server.http.app", "server.grpc.app", "resight", "reid.models.spec"]
)
def test_importing_the_server_or_a_specification_does_not_import_torch(what: str) -> None:
    code = f"import {what}, sys; sys.exit('torch' in sys.modules or 'training' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=ROOT).returncode == 0


@pytest.mark.parametrize("what", ["server.main", "server.http.app", "server.grpc.app"])
def test_importing_the_server_does_not_load_the_compiler_of_rankings(what: str) -> None:
    code = f"import {what}, sys; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=ROOT).returncode == 0


def test_nothing_reads_pickle() -> None:
    weights = ROOT / "training/unpickle.py"  # runs as a process of its own
    assert re.findall(r"torch\.load\(.*", weights.read_text()) == [
        'torch.load(source, map_location="cpu", weights_only=True)'
    ]
    for path in (*(ROOT / "training").rglob("*.py"), *(ROOT / "cli").rglob("*.py")):
        assert "training.unpickle" not in imports_of_modules(path), path
    for room in MAY_IMPORT:
        for path in (ROOT / room).rglob("*.py"):
            assert not imports_of(path) & {"pickle", "joblib", "dill", "shelve"}, path
            assert path == weights or "torch.load(" not in path.read_text(), path
