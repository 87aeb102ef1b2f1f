"""The heads of a sweep on the workers of an executor: dealt, trained there, brought together.

The rows travel once to each worker (`shipment`), the heads to and fro (`parts`): with halving until
its next decision, which is made over all of them (`rounds`). `engines` are the kinds of executors,
`crew` are the workers of one.
"""

from softstep.model.shards.deaths import WorkerError
from softstep.model.sweep.executor.crew import Crew
from softstep.model.sweep.executor.rounds import train
from softstep.model.sweep.executor.shipment import opened

__all__ = ["Crew", "WorkerError", "opened", "train"]
