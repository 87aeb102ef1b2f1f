"""What a worker does: some heads trained, solved or proven, on the rows that it was sent."""

from collections.abc import Callable
from typing import Any

from softstep.kernels.checks import Array
from softstep.model.sweep import results
from softstep.model.sweep.executor.parts import Parcel
from softstep.model.sweep.executor.shipment import Filed, Sent
from softstep.model.sweep.solving import Solving

Shipment = Filed | Sent
RUNS = 3  # of a task, at most, whose workers die


class UnwantedError(Exception):
    """Nobody waits any more for what a task comes to."""


class TooOftenError(Exception):
    """A task has begun as often as it may, and its worker died each time."""


def counted(counts: str, work: Callable[..., Any], *job: Any) -> Any:
    """work(*job), by a worker of Dask, which runs it again where its worker dies.

    counts: where the scheduler keeps how often tasks have begun.

    Raises:
        TooOftenError: this one has begun `RUNS` times before.
    """
    from distributed import get_client, get_worker

    client, place = get_client(), [counts, get_worker().get_current_task()]
    begun = client.get_metadata(place, 0)
    if begun == RUNS:
        raise TooOftenError(f"it was run {RUNS} times, and its worker died each time")
    client.set_metadata(place, begun + 1)
    return work(*job)


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
