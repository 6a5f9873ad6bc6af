"""What a check finds: lines to read, and reasons to reject the machine."""

from __future__ import annotations

import json
from pathlib import Path


class Findings:
    """Lines go to the output at once; reasons also into a file, where the process that asked finds them.

    Args:
        section: named before every reason.
    """

    def __init__(self, section: str) -> None:
        self.section = section
        self.reasons: list[str] = []

    def say(self, line: str) -> None:
        """Prints a line."""
        print(f"  {line}", flush=True)

    def require(self, holds: bool, reason: str) -> None:
        """Notes the reason unless what is required holds."""
        if not holds:
            self.reasons.append(f"{self.section}: {reason}")
            self.say(f"NOT AS REQUIRED: {reason}")

    def write(self, path: Path) -> None:
        """The reasons as a JSON list."""
        path.write_text(json.dumps(self.reasons))


def verdict(reasons: list[str]) -> int:
    """Prints the last line, ACCEPTED or REJECTED with every reason; returns the status to exit with."""
    print("ACCEPTED" if not reasons else f"REJECTED: {'; '.join(reasons)}", flush=True)
    return 1 if reasons else 0
