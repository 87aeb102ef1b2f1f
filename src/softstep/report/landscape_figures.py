"""The figures of the loss around a model, in `softstep landscape` and `softstep report`."""

from collections.abc import Iterator

from softstep.model import plots
from softstep.model.landscape import plane_slopes
from softstep.report.picture import Picture
from softstep.runs.landscape import Landscape

NAMES = ("surface", "contours", "gradient", "line")  # of all figures there can be


def pictures(landscape: Landscape) -> Iterator[Picture]:
    """The figures; no gradient if the path cannot be seen in the plane."""
    surface, of = landscape.surface, landscape.of
    path = "" if surface.path is None else "; the line is the path of the descent"
    yield Picture(
        "surface",
        "Loss surface",
        f"The loss of the {of} on a plane through the weights{path}.",
        lambda theme: plots.surface(surface, of=of, theme=theme),
    )
    yield Picture(
        "contours",
        "Loss contours",
        "The same plane from above. The loss is constant along each line.",
        lambda theme: plots.contours(surface, of=of, theme=theme),
    )
    is_pca = surface.explained_variance is not None
    if is_pca and len(at := plots.arrow_points(surface)):  # a small plane may hold the end alone
        slopes = plane_slopes(landscape.model, landscape.X, landscape.y, surface, surface.path[at])
        yield Picture(
            "gradient",
            "Gradient and descent path",
            "At some points of the path: the direction in which the loss grows fastest, and the "
            "direction of the path to its next recorded point, some steps later.",
            lambda theme: plots.gradient(surface, slopes, of=of, theme=theme),
        )
    name = "PC 1 of the path" if is_pca else "the first random direction"
    yield Picture(
        "line",
        "Slope of the loss",
        "The loss along the first direction, with tangents: their slope is the derivative.",
        lambda theme: plots.line(landscape.line, name=name, of=of, theme=theme),
    )
