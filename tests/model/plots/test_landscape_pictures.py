"""Promise: the pictures of loss surfaces show their numbers: axes, names, lines, ranges."""

import io
import json

import numpy as np
import pytest

from softstep import SoftmaxRegression, cli
from softstep.model import WeightPath
from softstep.model.datasets import load_digits
from softstep.model.landscape import Line, Surface, loss_line, loss_surface, plane_slopes
from softstep.model.landscape.directions import angles

DIGITS = load_digits()
X, Y = DIGITS.X_train[:300], DIGITS.y_train[:300]
THEMES = ("light", "dark")
STEPS = 15


@pytest.fixture(autouse=True)
def _libraries():
    pytest.importorskip("matplotlib")


@pytest.fixture(scope="module")
def trained():
    path = WeightPath()
    model = SoftmaxRegression(learning_rate=2, epochs=20, random_state=0).fit(X, Y, path=path)
    return model, path


@pytest.fixture(scope="module")
def plane(trained):
    model, path = trained
    return loss_surface(model, X, Y, "pca", steps=STEPS, path=path)


@pytest.fixture(scope="module")
def bare(trained):
    """A plane of random directions, without a path."""
    return loss_surface(trained[0], X, Y, steps=STEPS)


def rendered(figure):
    """The picture's pixels, (height, width, 4)."""
    import matplotlib.image

    data = io.BytesIO()
    figure.savefig(data, format="png")
    data.seek(0)
    return matplotlib.image.imread(data)


def texts(figure):
    import matplotlib.text

    return "\n".join(t.get_text() for t in figure.findobj(matplotlib.text.Text))


def ground(figure):
    """The colour of the picture's corner."""
    return tuple(rendered(figure)[-1, 0, :3].round(2))


def shares(surface):
    return [f"{share:.1%}" for share in surface.explained_variance]


# ---- three dimensions


@pytest.mark.parametrize("theme", THEMES)
def test_the_3d_figure_shows_every_value_and_the_path(plane, theme, monkeypatch):
    from mpl_toolkits.mplot3d import Axes3D

    from softstep.model import plots

    drawn = []
    draw = Axes3D.plot_surface

    def spy(axes, *values, **settings):
        drawn.append((values, settings))
        return draw(axes, *values, **settings)

    monkeypatch.setattr(Axes3D, "plot_surface", spy)
    figure = plots.surface(plane, theme=theme)
    (axes,) = figure.axes
    assert axes.name == "3d"
    (((x, y, z), settings),) = drawn
    for shown, expected in ((x, plane.x[None]), (y, plane.y[:, None]), (z, plane.loss)):
        np.testing.assert_array_equal(shown, expected)
    assert min(settings["rcount"], settings["ccount"]) >= STEPS  # none left out
    halo, way, start, end = axes.lines
    for line in (halo, way):
        x, y, z = line.get_data_3d()
        np.testing.assert_array_equal([x, y], plane.path.T)
        above = z - plane.path_loss
        np.testing.assert_allclose(above, above[0])
        assert 0 < above[0] < 0.02 * np.ptp(plane.loss)
    for marker, k in ((start, 0), (end, -1)):
        assert [c[0] for c in marker.get_data_3d()[:2]] == plane.path[k].tolist()
    assert axes.get_zlabel() == "MSE"
    for label, share in zip((axes.get_xlabel(), axes.get_ylabel()), shares(plane), strict=True):
        assert share in label
    assert axes.get_zlim()[1] == pytest.approx(plane.loss.max())
    said = texts(figure)
    assert "MSE of 300 rows around the trained weights" in said
    assert f"descent, {plane.path_steps[-1]} steps" in said
    assert rendered(figure).shape == (960, 1200, 4)


def test_what_is_behind_the_surface_is_pale_and_said_to_be_behind(plane):
    """A wall across the plane, and a path that begins before it and ends right behind it."""
    from dataclasses import replace

    from softstep.model import plots

    loss = np.zeros((STEPS, STEPS))
    loss[4] = 1.0  # at y = -0.43; the eye is at lower y
    path = np.array([[0.0, -0.9], [0.0, -0.7], [0.0, -0.2], [0.0, -0.1]])
    walled = replace(plane, loss=loss, path=path, path_loss=np.zeros(4), path_steps=np.arange(4))
    axes = plots.surface(walled).axes[0]
    _, front, behind, start, end = axes.lines
    assert np.isnan(front.get_data_3d()[2]).tolist() == [False, False, True, True]
    assert np.isnan(behind.get_data_3d()[2]).tolist() == [True, False, False, False]
    assert (start.get_label(), end.get_label()) == ("start", "end (behind)")
    assert behind.get_alpha() == end.get_alpha() < 1
    assert start.get_alpha() is None
    far = replace(walled, path=np.array([[0.0, -0.9], [0.0, -0.7], [0.0, 0.9], [0.2, 0.95]]))
    assert len(plots.surface(far).axes[0].lines) == 4  # the eye sees over the wall


def test_without_a_path_nothing_pretends_to_be_one(bare):
    from softstep.model import plots

    for figure in (plots.surface(bare), plots.contours(bare)):
        assert not figure.axes[0].lines
        assert "descent" not in texts(figure)
        assert figure.axes[0].get_legend() is None
        assert not figure.legends
        assert "random direction 1" in figure.axes[0].get_xlabel().replace("\n", " ")


# ---- contours


@pytest.mark.parametrize("theme", THEMES)
def test_the_contours_span_the_loss_and_the_path_lies_on_them(plane, theme):
    from softstep.model import plots

    figure = plots.contours(plane, theme=theme)
    axes, scale = figure.axes
    filled = axes.collections[0]
    assert filled.levels[0] == pytest.approx(plane.loss.min())
    assert filled.levels[-1] == pytest.approx(plane.loss.max())
    assert len(filled.levels) == 17
    assert (np.diff(filled.levels) > 0).all()
    for line in axes.lines[:2]:
        np.testing.assert_array_equal(line.get_xydata(), plane.path)
    assert axes.get_xlim() == axes.get_ylim() == (-1, 1)
    assert axes.get_aspect() == 1
    assert scale.get_ylabel() == "MSE"
    for label, share in zip((axes.get_xlabel(), axes.get_ylabel()), shares(plane), strict=True):
        assert share in label
    names = [t.get_text() for t in axes.get_legend().get_texts()]
    assert names == [f"descent, {plane.path_steps[-1]} steps", "start", "end"]
    assert rendered(figure).shape == (896, 1200, 4)


@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
def test_the_scale_writes_all_its_numbers_alike(loss):
    from softstep.model import plots

    model = SoftmaxRegression(loss=loss, epochs=5, random_state=0).fit(X, Y)
    for span in (1e-3, 1, 100):
        figure = plots.contours(loss_surface(model, X, Y, steps=5, span=span))
        figure.draw_without_rendering()
        written = [t.get_text() for t in figure.axes[1].get_yticklabels()]
        assert len(set(written)) == len(written) == 6
        decimals = {len(text.partition(".")[2]) for text in written}
        assert len(decimals) == 1


def test_light_and_dark_have_their_grounds(plane):
    from softstep.model import plots

    assert min(ground(plots.contours(plane))) == 1
    assert max(ground(plots.contours(plane, theme="dark"))) < 0.15
    with pytest.raises(ValueError, match="theme must be one of light, dark, not 'blue'"):
        plots.contours(plane, theme="blue")


def test_the_names_of_the_contours_keep_off_the_path(plane):
    from dataclasses import replace

    from softstep.model import plots

    for corner in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
        path = np.linspace([0.4, 0.4], [0.9, 0.9], 27) * corner
        figure = plots.contours(replace(plane, path=path))
        figure.draw_without_rendering()
        (axes, _) = figure.axes
        box = axes.get_legend().get_window_extent()
        assert box.count_contains(axes.transData.transform(path)) == 0


def test_a_path_on_random_directions_is_called_a_projection(trained):
    from softstep.model import plots

    model, path = trained
    surface = loss_surface(model, X, Y, steps=5, path=path)
    assert "projection of the descent" in texts(plots.contours(surface))


def test_a_flat_surface_has_no_contours(trained):
    from softstep.model import plots

    surface = loss_surface(trained[0], X, Y, span=1e-30, steps=5)
    for draw in (plots.contours, plots.surface):
        with pytest.raises(ValueError, match=r"everywhere on this plane, .* take a larger span"):
            draw(surface)


def test_cross_entropy_has_its_unit():
    from softstep.model import plots

    model = SoftmaxRegression(loss="cross_entropy", epochs=2, random_state=0).fit(X, Y)
    surface = loss_surface(model, X, Y, steps=5)
    assert plots.contours(surface).axes[1].get_ylabel() == "cross-entropy (nats)"


# ---- gradient


@pytest.fixture(scope="module")
def arrows(trained, plane):
    from softstep.model import plots

    model, _ = trained
    at = plots.arrow_points(plane)
    return at, plane_slopes(model, X, Y, plane, plane.path[at])


@pytest.mark.parametrize("theme", THEMES)
def test_the_arrows_point_up_the_slope_and_along_the_way(plane, arrows, theme):
    from matplotlib.quiver import Quiver

    from softstep.model import plots

    at, slopes = arrows
    figure = plots.gradient(plane, slopes, theme=theme)
    (axes,) = figure.axes
    ascent, onward = (a for a in axes.collections if isinstance(a, Quiver))
    assert len(at) == 6
    assert at[0] == 0
    for quiver in (ascent, onward):
        np.testing.assert_array_equal(quiver.XY, plane.path[at])
        assert np.hypot(quiver.U, quiver.V) == pytest.approx(np.hypot(quiver.U[0], quiver.V[0]))
    up = np.stack([ascent.U, ascent.V], axis=1)
    on = np.stack([onward.U, onward.V], axis=1)
    # D1 and D2 are at right angles and of one length: the ascent is along the slopes themselves
    np.testing.assert_allclose(up[:, 0] * slopes[:, 1], up[:, 1] * slopes[:, 0], rtol=1e-9)
    assert ((up * slopes).sum(axis=1) > 0).all()
    way = plane.path[at + 1] - plane.path[at]
    np.testing.assert_allclose(on[:, 0] * way[:, 1], on[:, 1] * way[:, 0], atol=1e-12)
    assert ((on * way).sum(axis=1) > 0).all()
    assert ((on * up).sum(axis=1) < 0).all()  # descent goes down
    assert axes.get_aspect() == 1
    off = angles(plane.D1, plane.D2, on, -up)
    assert f"the path is {off.min():.0f}° to {off.max():.0f}° off the steepest descent" in texts(
        figure
    )
    names = [t.get_text() for t in figure.legends[0].get_texts()]
    assert names == [
        f"descent, {plane.path_steps[-1]} steps",
        "steepest ascent: the gradient",
        "direction of the path",
        "points on the path",
        "end",
    ]
    (low, high), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    x, y = plane.path.T
    assert low <= x.min() <= x.max() <= high
    assert bottom <= y.min() <= y.max() <= top
    rendered(figure)


@pytest.mark.parametrize("kind", ["pca", "pca small", "random"])
def test_arrows_of_one_point_keep_clear_of_those_of_another(kind, trained):
    """And of the end; none is so short that it cannot be seen."""
    from matplotlib.quiver import Quiver

    from softstep.model import plots

    model, path = trained
    directions, *small = kind.split()
    span = 0.3 if small else 1.0
    surface = loss_surface(model, X, Y, directions, span=span, steps=STEPS, path=path)
    at = plots.arrow_points(surface)
    slopes = plane_slopes(model, X, Y, surface, surface.path[at])
    (axes,) = plots.gradient(surface, slopes).axes
    arrows = [a for a in axes.collections if isinstance(a, Quiver)]
    along = np.linspace(0, 1, 21)[:, None]
    seen = np.ptp(axes.get_xlim())
    ways = []
    for start, *vectors in zip(arrows[0].XY, *(np.c_[a.U, a.V] for a in arrows), strict=True):
        ways.append(np.concatenate([start + along * vector for vector in vectors]))
        assert min(map(np.linalg.norm, vectors)) > 0.03 * seen
    ways.append(surface.path[-1:])
    for k, one in enumerate(ways):
        for other in ways[:k]:
            apart = np.linalg.norm(one[:, None] - other, axis=2).min()
            assert apart > 0.008 * seen


def test_crowded_points_have_fewer_arrows(plane):
    from dataclasses import replace

    from matplotlib.quiver import Quiver

    from softstep.model import plots

    there = np.linspace([-0.5, 0.0], [0.5, 0.0], 20)
    path = np.concatenate([there, there[::-1] + 1e-3])  # and back next to it
    k = len(path)
    surface = replace(plane, path=path, path_loss=np.zeros(k), path_steps=np.arange(k))
    at = plots.arrow_points(surface)
    (axes,) = plots.gradient(surface, np.ones((len(at), 2))).axes
    shown = next(a for a in axes.collections if isinstance(a, Quiver)).XY
    assert len(at) == 6
    assert 1 < len(shown) < 6
    apart = [np.linalg.norm(a - b) for i, a in enumerate(shown) for b in (*shown[:i], path[-1])]
    assert min(apart) >= 0.1 * np.ptp(axes.get_xlim())


def test_rings_are_those_of_the_part_that_is_seen(trained):
    """A path that is small in its plane would else lie between two of them."""
    from softstep.model import plots

    model, path = trained
    surface = loss_surface(model, X, Y, steps=51, path=path)
    at = plots.arrow_points(surface)
    slopes = plane_slopes(model, X, Y, surface, surface.path[at])
    (axes,) = plots.gradient(surface, slopes).axes
    (low, high), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    rings = next(a for a in axes.collections if hasattr(a, "levels"))
    crossing = [
        ring
        for ring in rings.get_paths()
        if any(low < x < high and bottom < y < top for x, y in ring.vertices)
    ]
    assert len(crossing) > 5


def test_arrows_need_a_path_and_a_slope_for_each(plane, bare, arrows):
    from softstep.model import plots

    with pytest.raises(ValueError, match="this surface has no path"):
        plots.gradient(bare, arrows[1])
    with pytest.raises(ValueError, match=r"slopes must have shape \(6, 2\)"):
        plots.gradient(plane, arrows[1][:2])


def test_a_small_plane_shows_the_part_of_the_path_that_is_on_it(trained):
    from softstep.model import plots

    model, path = trained
    surface = loss_surface(model, X, Y, "pca", span=0.3, steps=STEPS, path=path)
    assert np.abs(surface.path[0]).max() > 0.3
    contours, space = plots.contours(surface).axes[0], plots.surface(surface).axes[0]
    assert contours.get_xlim() == contours.get_ylim() == (-0.3, 0.3)
    for shown in (contours.lines[1].get_xydata().T, space.lines[1].get_data_3d()[:2]):
        outside = (np.abs(surface.path) > 0.3).any(axis=1)
        assert np.isnan(shown)[0].tolist() == outside.tolist()
        np.testing.assert_array_equal(np.array(shown)[:, ~outside], surface.path[~outside].T)
    assert [t.get_text() for t in contours.get_legend().get_texts()][1:] == ["end"]
    at = plots.arrow_points(surface)
    assert len(at) > 1
    assert (np.abs(surface.path[at]) <= 0.3).all()
    slopes = plane_slopes(model, X, Y, surface, surface.path[at])
    rendered(plots.gradient(surface, slopes))


def test_a_plane_without_the_path_but_its_end_has_no_arrows(trained):
    from softstep.model import plots

    model, path = trained
    surface = loss_surface(model, X, Y, "pca", span=1e-5, steps=5, path=path)
    assert plots.arrow_points(surface).tolist() == []
    with pytest.raises(ValueError, match="no part of the path lies in this plane"):
        plots.gradient(surface, np.empty((0, 2)))


# ---- line


@pytest.mark.parametrize("theme", THEMES)
def test_the_tangents_touch_the_loss_with_its_slope(trained, plane, theme):
    from softstep.model import plots

    line = loss_line(trained[0], X, Y, plane.D1)
    figure = plots.line(line, name="PC 1", theme=theme)
    (axes,) = figure.axes
    curve, *rest = axes.lines
    np.testing.assert_array_equal(curve.get_xydata(), np.stack([line.x, line.loss], axis=1))
    tangents, dots = rest[::2], rest[1::2]
    assert len(tangents) == len(dots) == 3
    for tangent, dot in zip(tangents, dots, strict=True):
        (x0, x1), (y0, y1) = tangent.get_data()
        (x,), (y,) = dot.get_data()
        k = int(np.flatnonzero(line.x == x)[0])
        assert y == line.loss[k]
        assert (y1 - y0) / (x1 - x0) == pytest.approx(line.slope[k])
        assert (y0 + y1) / 2 == pytest.approx(y)
        assert f"slope {line.slope[k]:+.3g} at {x:.3g}".replace("-", "−") in texts(figure)
    assert axes.get_xlabel() == "offset along PC 1"
    assert axes.get_ylabel() == "MSE"
    rendered(figure)


# ---- in a browser


@pytest.mark.parametrize("theme", THEMES)
def test_the_turnable_surface_has_the_same_numbers(plane, theme):
    pytest.importorskip("plotly")
    from softstep.model.plots.surface_html import interactive

    surface, way, start, end = interactive(plane, theme=theme).data
    assert surface.type == "surface"
    np.testing.assert_array_equal(surface.z, plane.loss)
    np.testing.assert_array_equal(surface.customdata, plane.accuracy)
    np.testing.assert_array_equal(np.stack([way.x, way.y], axis=1), plane.path)
    np.testing.assert_array_equal(way.customdata[:, 1], plane.path_loss)
    assert (start.x[0], end.x[0]) == (plane.path[0, 0], plane.path[-1, 0])
    scene = interactive(plane, theme=theme).layout.scene
    for axis, share in zip((scene.xaxis, scene.yaxis), shares(plane), strict=True):
        assert share in axis.title.text


def test_the_page_loads_nothing_from_elsewhere(plane):
    pytest.importorskip("plotly")
    from softstep.model import plots

    html = plots.surface_html(plane)
    assert "Plotly.newPlot" in html
    assert len(html) > 1e6  # plotly itself is inside
    for loading in ("<script src", "<link", "<img", "@import", "cdn.plot.ly/plotly"):
        assert loading not in html


# ---- the command


def run(capsys, *arguments):
    code = cli.main([str(a) for a in arguments])
    return code, *capsys.readouterr()


@pytest.mark.parametrize("directions", ["pca", "random"])
def test_the_command_writes_a_run_that_can_be_read_again(directions, tmp_path, capsys):
    out = tmp_path / "run"
    code, said, _ = run(
        capsys, "landscape", "digits", "--directions", directions, "--out", out, "--steps", 7,
        "--epochs", 4, "--rows", "test",
    )  # fmt: skip
    assert code == 0
    record = json.loads((out / "run.json").read_text())
    assert record["format"] == "softstep run 2"
    assert record["settings"]["directions"] == directions
    assert record["settings"]["rows"] == "test"
    assert record["versions"].keys() >= {"softstep", "python", "numpy", "numba", "matplotlib"}
    model = SoftmaxRegression.load(out / "model.npz")
    surface, line = Surface.load(out / "surface.npz"), Line.load(out / "line.npz")
    assert surface.loss.shape == (7, 7)
    assert surface.rows == line.rows == 360
    np.testing.assert_array_equal(surface.loss[3], line.loss)
    assert surface.accuracy[3, 3] == model.score(DIGITS.X_test, DIGITS.y_test)
    assert record["results"]["test_accuracy"] == surface.accuracy[3, 3]
    assert f"test accuracy {surface.accuracy[3, 3]:.4f}" in said
    is_pca = directions == "pca"
    names = ["surface", "contours", *["gradient"] * is_pca, "line"]
    images = {path.name: path.read_bytes() for path in out.glob("*.png")}
    assert set(images) == {f"{name}{dark}.png" for name in names for dark in ("", "-dark")}
    assert all(image.startswith(b"\x89PNG") for image in images.values())
    assert "surface: 360/360 rows" in said
    assert ("of the path's variance" in said) == is_pca


def test_the_command_refuses_what_it_cannot_do(tmp_path, capsys):
    for option, value, message in (
        ("--steps", 1, "--steps must be at least 2"),
        ("--span", -1, "--span must be above 0"),
        ("--span", "nan", "--span must be finite"),
        ("--batch-size", 9999, "--directions pca needs at least two training steps"),
    ):
        code, out, said = run(
            capsys, "landscape", "digits", option, value, "--epochs", 1, "--out", tmp_path
        )
        assert code == 2
        assert message in said
        assert "epoch" not in out  # before the work
    assert not (tmp_path / "run.json").exists()


def test_a_missing_library_is_named_before_the_work(tmp_path, capsys, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "matplotlib", None)
    code, said, error = run(capsys, "landscape", "digits", "--out", tmp_path)
    assert code == 2
    assert "pip install 'softstep[plot]'" in error
    assert "epoch" not in said


QUICK = ("landscape", "digits", "--epochs", 2, "--steps", 5)


def test_a_figure_that_cannot_be_drawn_is_named_and_the_rest_is_there(tmp_path, capsys):
    assert run(capsys, *QUICK, "--out", tmp_path)[0] == 0
    (tmp_path / "report.html").write_text("of another model")
    code, said, _ = run(capsys, *QUICK, "--span", 1e-30, "--out", tmp_path)
    assert code == 0
    for name in ("surface", "contours"):
        assert f"{name}: Not drawn: the loss is " in said
    assert [path.name for path in sorted(tmp_path.glob("*.png"))] == ["line-dark.png", "line.png"]
    assert not (tmp_path / "report.html").exists()
    assert cli.main(["report", str(tmp_path)]) == 0
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.count("<p>Not drawn: the loss is ") == 2
    SoftmaxRegression.load(tmp_path / "model.npz")
    Surface.load(tmp_path / "surface.npz")
    Line.load(tmp_path / "line.npz")


def test_a_span_that_overflows_is_refused_and_the_model_is_kept(tmp_path, capsys):
    code, _, said = run(capsys, *QUICK, "--span", 1e39, "--out", tmp_path)
    assert code == 2
    assert "the loss overflows at offsets up to 1e+39: take smaller ones" in said
    SoftmaxRegression.load(tmp_path / "model.npz")


def test_a_second_run_leaves_nothing_of_the_first(tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("mine")
    assert run(capsys, *QUICK, "--out", tmp_path)[0] == 0
    assert (tmp_path / "gradient.png").exists()
    assert run(capsys, *QUICK, "--directions", "random", "--out", tmp_path)[0] == 0
    assert not list(tmp_path.glob("gradient*"))
    assert (tmp_path / "notes.txt").exists()


def test_test_rows_of_classes_without_training_rows_are_left_out(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    labels = np.append(Y[:100], np.arange(10, 25))  # of fifteen classes one row each
    np.savez("rare.npz", X=X[:115], y=labels)
    code, said, _ = run(
        capsys, "landscape", "rare.npz", "--epochs", 2, "--steps", 5, "--rows", "test"
    )
    assert code == 0
    assert "test rows have a label that the model does not know: left out" in said
