"""One section of a check, as a process: `python -m benchmarks.gpu.section FOLDER NAME`.

A runtime that crashes or hangs ends its own section only, and what it held of the GPU goes back with it.
"""

from __future__ import annotations

import sys
import traceback
from pathlib import Path

from benchmarks.gpu.findings import Findings
from benchmarks.gpu.plan import Plan

ENGINE = "engine "


def names(plan: Plan) -> list[str]:
    """The sections in their order; `adapt` makes the profile that the engines are compared with."""
    return ["versions", "adapt", *(ENGINE + name for name in plan.engines), "serve", "faiss"]


def run(plan: Plan, name: str, findings: Findings) -> None:
    """Does what the section is there for; each imports only what it needs."""
    if name.startswith(ENGINE):
        from benchmarks.gpu.engines import check_engine

        check_engine(plan, name.removeprefix(ENGINE), findings)
    elif name == "versions":
        from benchmarks.gpu.versions import check_versions

        check_versions(plan, findings)
    elif name == "adapt":
        from benchmarks.gpu.adaptation import check_adaptation

        check_adaptation(plan, findings)
    elif name == "serve":
        from benchmarks.gpu.serving import check_serving

        check_serving(plan, findings)
    else:
        from benchmarks.gpu.faiss_gpu import check_faiss

        check_faiss(plan, findings)


def reasons_file(plan: Plan, name: str) -> Path:
    """Where a section leaves its reasons."""
    return plan.folder / f"{name.replace(' ', '-')}.json"


def main() -> None:
    """The process."""
    plan, name = Plan.read(Path(sys.argv[1])), sys.argv[2]
    findings = Findings(name)
    try:
        run(plan, name, findings)
    except Exception as error:
        traceback.print_exc()
        findings.require(False, f"{type(error).__name__}: {error}")
    findings.write(reasons_file(plan, name))


if __name__ == "__main__":
    main()
