"""The loss around a trained model: on a plane of its weights, along a line, and its slopes."""

from softstep.model.landscape.results import Line, Surface
from softstep.model.landscape.sampling import loss_line, loss_surface, plane_slopes

__all__ = ["Line", "Surface", "loss_line", "loss_surface", "plane_slopes"]
