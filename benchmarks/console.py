"""The console's gallery with many items in headless Chromium: how smoothly it scrolls, how large the page is.

python -m benchmarks.console --items 100000

Needs Debian's chromium and the extra `dev` (Playwright). The page is scrolled by a window's height a third of
a second for some seconds, then once to its end, while every frame is timed.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
from resight_client import Client

from benchmarks.crops import drawn_jpegs
from benchmarks.machine import say_machine
from benchmarks.query import SITE, fill
from benchmarks.serving import DEMO, ServerProcess
from reid.bundle import Bundle

SLOW_MS = 50
_SCROLL = """async (seconds) => {
  const frames = [], nodes = [];
  let last = performance.now(), begun = last, next = last, jumped = false;
  while (last - begun < seconds * 1000) {
    await new Promise(requestAnimationFrame);
    const now = performance.now();
    frames.push(now - last);
    last = now;
    if (now >= next) {
      if (now - begun > seconds * 800 && !jumped) { scrollTo(0, document.body.scrollHeight); jumped = true; }
      else if (!jumped) scrollBy(0, innerHeight);
      nodes.push(document.getElementsByTagName("*").length);
      next = now + 333;
    }
  }
  return { frames, nodes, height: document.body.scrollHeight };
}"""


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--seconds", type=int, default=20)
    arguments = parser.parse_args()
    program = shutil.which("chromium")
    if program is None:
        sys.exit("chromium is not installed: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    say_machine()
    jpegs, bundle = drawn_jpegs(64), Bundle.load(DEMO)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "data"
        with ServerProcess(DEMO, folder) as server, Client(server.url) as client:
            space_id = client.enroll(SITE, jpegs[:1]).space_id
        rng = np.random.default_rng(0)
        for start in range(0, arguments.items, 20_000):
            count = min(20_000, arguments.items - start)
            vectors = rng.standard_normal((count, bundle.manifest.dim), np.float32)
            fill(folder, space_id, vectors / np.linalg.norm(vectors, axis=1, keepdims=True), jpegs)
        with ServerProcess(DEMO, folder) as server, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 1280, "height": 860})
            page.goto(f"{server.url}/#/gallery")
            page.locator("main img").first.wait_for()
            measured = page.evaluate(_SCROLL, arguments.seconds)
            browser.close()
    frames = np.array(measured["frames"])
    smooth = 100 * float((frames < SLOW_MS).mean())
    print(
        f"{arguments.items:,} items, {measured['height']:,} pixels: {smooth:.1f} % of {len(frames)} "
        f"frames under {SLOW_MS} ms, the 95th of 100 lasts {np.percentile(frames, 95) / (1000 / 60):.1f} "
        f"sixtieths of a second; at most {max(measured['nodes'])} nodes"
    )


if __name__ == "__main__":
    main()
