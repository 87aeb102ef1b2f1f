"""What a worker does: some heads trained, solved or proven, on the rows that it was sent."""

from collections.abc import Callable
from typing import Any

from softstep.kernels.checks import Array
from softstep.model.sweep import results
from softstep.model.sweep.executor.parts import Parcel
from softstep.model.sweep.executor.shipment import Filed, Sent
from softstep.model.sweep.solving import Solving

Shipment = Filed | Sent


class UnwantedError(Exception):
    """Nobody waits any more for what a task comes to."""


def greet() -> str:
    """The version of softstep that this worker has."""
    from softstep import __version__

    return __version__


def train(shipment: Shipment, parcel: Parcel, first: int, stop: int) -> Parcel:
    """These heads from epoch `first` until epoch `stop` begins."""
    training = parcel.opened(shipment.plan())
    training.advance(first, stop, _while_wanted(shipment))
    return parcel.back(training, slice(first, stop))


def solve(shipment: Shipment, parcel: Parcel) -> Parcel:
    """These heads at their optimum."""
    training = parcel.opened(shipment.plan())
    assert isinstance(training, Solving)
    training.to_the_optimum(_while_wanted(shipment))
    return parcel.back(training, slice(0, 0))


def prove(shipment: Shipment, parcel: Parcel) -> dict[str, Array]:
    """The certificates of these heads, each of another group."""
    return results.certificate(parcel.opened(shipment.plan()))


def _while_wanted(shipment: Shipment) -> Callable[[Any], None]:
    """A callback that ends a training of which nobody takes the result any more."""

    def look(_: Any) -> None:
        if not shipment.is_wanted():
            raise UnwantedError("the training that this task is of was given up")

    return look
