"""Promise: title and labels of the interactive surface are not cut at 600 and 900 pixels."""

import io

import chromium
import numpy as np
import pytest
from chromium import DRAWN, SURFACE, WAIT

from softstep import SoftmaxRegression
from softstep.model.datasets import load_digits
from softstep.model.landscape import loss_surface

chromium.require()

BOXES = """selector => [...document.querySelectorAll(selector)].map(e => {
  const box = e.getBoundingClientRect();
  return [box.left, box.top, box.right, box.bottom];
})"""
EDGE = 3  # pixels in which nothing is drawn


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    """The surface of the longest title and names."""
    from softstep.model import plots

    digits = load_digits()
    model = SoftmaxRegression(loss="gce", epochs=5, random_state=0)
    model.fit(digits.X_train, digits.y_train)
    surface = loss_surface(model, digits.X_train, digits.y_train, steps=11)
    html = plots.surface_html(surface, of="training rows")
    file = tmp_path_factory.mktemp("page") / "surface.html"
    file.write_text(f"<!doctype html><body style='margin:0'>{html}", encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def browser():
    with chromium.launched() as browser:
        yield browser


@pytest.mark.parametrize("width", [600, 900])
def test_title_and_labels_are_whole(browser, page_file, width):
    import matplotlib.image

    page = browser.new_page(viewport={"width": width, "height": 800})
    page.goto(page_file.as_uri(), timeout=WAIT)
    page.wait_for_function(DRAWN, timeout=WAIT)
    page.wait_for_timeout(1000)
    plot = page.locator(SURFACE)
    page.mouse.move(width / 2, 300)  # the tool bar is shown
    ((*_, right, bottom),) = page.evaluate(BOXES, [SURFACE])
    titles = page.evaluate(BOXES, [".gtitle"]) + page.evaluate(BOXES, [".legend .legendtext"])
    buttons = page.evaluate(BOXES, [".modebar-btn"])
    page.mouse.move(0, 0)
    page.wait_for_timeout(500)
    picture = matplotlib.image.imread(io.BytesIO(plot.screenshot()))[..., :3]
    page.close()
    assert len(titles) >= 1
    assert len(buttons) > 3
    for box in titles:
        assert box[0] >= 0
        assert box[1] >= 0
        assert box[2] <= right
        assert box[3] <= bottom
        assert not any(meet(box, button) for button in buttons)
    assert picture.std() > 0.05  # something is drawn
    ground = picture[-1, 0]
    drawn = np.abs(picture - ground).max(axis=2) > 0.1
    assert not drawn[:, :EDGE].any()
    assert not drawn[-EDGE:].any()
    assert not drawn[:, -EDGE:].any()


def meet(a, b):
    """Whether two boxes (left, top, right, bottom) have a place in common."""
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
