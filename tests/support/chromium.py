"""A headless Chromium for the tests of pages; they are skipped where there is none."""

import contextlib
import shutil

import pytest

PATH = shutil.which("chromium") or shutil.which("google-chrome")
# WebGL on the processor, for a machine without a GPU.
WEBGL = ("--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist")
WAIT = 60_000  # ms, at most: the browser draws on the processor
SURFACE = "#loss-surface"
DRAWN = f"document.querySelector('{SURFACE}')?._fullLayout?.scene?._scene?.glplot != null"


def require():
    """Skip the module that calls it where Chromium, or what the pages are made with, is missing."""
    if PATH is None:
        pytest.skip("no chromium: apt-get install chromium", allow_module_level=True)
    pytest.importorskip("playwright.sync_api", reason="pip install 'softstep[test]'")
    pytest.importorskip("plotly")
    pytest.importorskip("matplotlib")


@contextlib.contextmanager
def launched():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        browser = started.chromium.launch(
            executable_path=PATH, args=["--no-sandbox", *WEBGL], timeout=WAIT
        )
        yield browser
        browser.close()
