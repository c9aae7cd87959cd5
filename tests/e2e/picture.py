"""A picture of a page's dialog: `picture.py URL FILE.png TEXT…`, with Debian's Chromium, once every text is there."""

from __future__ import annotations

import shutil
import sys

from playwright.sync_api import sync_playwright


def main(url: str, file: str, *texts: str) -> None:
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.goto(url)
        for text in texts:
            page.get_by_text(text).first.wait_for(timeout=60_000)
        page.wait_for_timeout(2_000)  # what slides in has come to rest
        page.locator("[role=dialog]").filter(has_text=texts[0]).first.screenshot(path=file)
        browser.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
