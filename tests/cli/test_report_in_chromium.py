"""Promise: a report opens in a browser by itself, shows every figure, and its surface turns."""

import chromium
import pytest
from chromium import DRAWN, SURFACE, WAIT

from softstep import cli

chromium.require()

CAMERA = (
    "JSON.stringify(document.querySelector('#loss-surface')._fullLayout.scene._scene.getCamera())"
)


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """The report of a landscape: its path."""
    folder = tmp_path_factory.mktemp("landscape")
    command = ["landscape", "digits", "--epochs", "20", "--steps", "11", "--out", str(folder)]
    assert cli.main(command) == 0
    assert cli.main(["report", str(folder)]) == 0
    return folder / "report.html"


@pytest.fixture(scope="module")
def browser():
    with chromium.launched() as browser:
        yield browser


@pytest.fixture(scope="module")
def opened(browser, report):
    """The page, and what it complained of and asked for from elsewhere."""
    page = browser.new_page(viewport={"width": 1000, "height": 800}, color_scheme="light")
    complaints, requests = [], []
    page.on("console", lambda m: complaints.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: requests.append(request.url.partition(":")[0]))
    page.goto(report.as_uri(), timeout=WAIT)
    page.wait_for_function(DRAWN, timeout=WAIT)
    yield page, complaints, requests
    page.close()


def test_no_error_and_nothing_from_elsewhere(opened):
    _, complaints, requests = opened
    assert complaints == []
    assert "file" in requests
    assert set(requests) <= {"file", "data", "blob"}


def test_every_figure_is_seen(opened):
    page, *_ = opened
    images = page.locator("figure img").all()
    titles = page.locator("h2").all_inner_texts()
    assert len(images) == 9
    assert {"Loss surface", "Slope of the loss", "Weights of each class"} <= set(titles)
    for image in images:
        box = image.bounding_box()
        assert box["width"] > 500
        assert box["height"] > 200
        assert image.evaluate("i => i.complete && i.naturalWidth") >= 1000
        assert image.get_attribute("alt")


def test_the_surface_has_its_title_as_the_page_s_style_leaves_it(opened):
    page, *_ = opened
    title = page.locator(f"{SURFACE} .gtitle tspan").first
    assert title.text_content().startswith("MSE of 1437 training rows")
    assert title.evaluate("t => getComputedStyle(t).fill") == "rgb(28, 25, 23)"


def test_the_page_is_no_wider_than_a_telephone(opened):
    page, *_ = opened
    page.set_viewport_size({"width": 400, "height": 800})
    page.wait_for_function("document.documentElement.scrollWidth <= innerWidth", timeout=WAIT)
    page.set_viewport_size({"width": 1000, "height": 800})


def test_the_surface_turns_when_it_is_dragged(opened):
    page, *_ = opened
    surface = page.locator(SURFACE)
    surface.scroll_into_view_if_needed()
    box = surface.bounding_box()
    assert box["width"] > 500
    assert box["height"] > 400
    page.wait_for_timeout(500)
    before, camera = surface.screenshot(), page.evaluate(CAMERA)
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 150, y + 30, steps=3)
    page.mouse.up()
    page.wait_for_function(f"{CAMERA} !== {camera!r}", timeout=WAIT)
    page.wait_for_timeout(500)
    assert changed(before, surface.screenshot()) > 0.02


def test_all_is_dark_for_a_reader_of_the_dark(opened):
    page, *_ = opened
    ground = "document.querySelector('#loss-surface')._fullLayout.paper_bgcolor"
    source = "i => i.currentSrc"
    image = page.locator("figure img").first
    light, light_ground = image.evaluate(source), page.evaluate(ground)
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(f"{ground} !== {light_ground!r}", timeout=WAIT)
    assert page.evaluate(ground) == "#141416"
    assert image.evaluate(source) != light
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 20, 22)"
    page.emulate_media(color_scheme="light")
    page.wait_for_function(f"{ground} === {light_ground!r}", timeout=WAIT)


def changed(a, b):
    """The share of pixels that two PNG files differ in."""
    import io

    import matplotlib.image
    import numpy as np

    first, second = (matplotlib.image.imread(io.BytesIO(png))[..., :3] for png in (a, b))
    assert first.shape == second.shape
    return float(np.mean(np.abs(first - second).max(axis=-1) > 0.1))
