"""What MPI ranks of the study run: `mpiexec -n 2 python -m …over_rows.ranks ROWS FITS FOLDER`.

Each writes its process number to FOLDER, and rank 0 the times of its fits and what they came to.
Without fits there is one that is not timed, which keeps its state there.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from mpi4py import MPI

from softstep.bench.studies.over_rows import problem


def main(count: int, fits: int, folder: Path) -> None:
    comm = MPI.COMM_WORLD
    X, y = (problem.part(array, comm.rank, comm.size) for array in problem.rows(count))
    problem.sweep(max_iter=1).fit(X[:500], y[:500], comm=comm)  # compiles
    (folder / f"rank-{comm.rank}").write_text(str(os.getpid()), encoding="utf-8")
    times = []
    kept: Any = {} if fits else {"checkpoint": folder / "kept", "checkpoint_every": 1}
    for _ in range(fits or 1):
        comm.Barrier()
        start = time.perf_counter()
        found = problem.sweep().fit(X, y, comm=comm, **kept)
        times.append(time.perf_counter() - start)
    if comm.rank == 0:
        objective = found.results_["objective"].tolist()
        done = {"seconds": times, "objective": objective}
        done["converged"] = bool(found.results_["converged"].all())
        (folder / "found.json").write_text(json.dumps(done), encoding="utf-8")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
