"""Take the README's picture of the demo page, in headless Chromium.

    make quickstart
    python tests/demo/take_screenshot.py runs/quickstart recipes/demo.png

The recording is the page's own long example.
"""

from __future__ import annotations

import argparse
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

from playwright.sync_api import sync_playwright

WIDTH, SCALE = 1100, 1.4
COLOURS = 128


def main() -> None:
    """Serve the page, let it hear the example, and save what stands there down to the timeline."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("picture", type=Path)
    options = parser.parse_args()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [Path(sys.executable).with_name("nvv"), "demo", options.model, "--port", str(port)]
    process = subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, text=True)
    try:
        print(process.stdout.readline().strip() or "the page did not start")
        take(f"http://127.0.0.1:{port}/", options.picture)
    finally:
        process.terminate()
        process.wait()


def take(url: str, picture: Path) -> None:
    """Save the page at `url`."""
    browser_path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": 800}, device_scale_factor=SCALE)
        page.goto(url)
        page.get_by_role("button", name="recording of 40 s").click()
        page.wait_for_function("document.querySelector('#timeline img')?.naturalWidth > 1000", timeout=60_000)
        page.locator("#answer_0").wait_for()
        time.sleep(2)  # fonts, bars that grow
        box = page.locator("#timeline").bounding_box()
        height = box["y"] + box["height"] + 16
        page.set_viewport_size({"width": WIDTH, "height": round(height)})
        time.sleep(1)
        page.screenshot(path=picture, clip={"x": 0, "y": 0, "width": WIDTH, "height": height})
        browser.close()
    from PIL import Image

    Image.open(picture).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(picture, optimize=True)
    print(f"{picture}: {picture.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
