"""What the study has a job of MPI do: `engines.job` gives it these words, of which the first says
which it is. What it prints is read by the process that started it."""

import sys

from softstep.bench.studies.workers import bits, curves, kills, memory
from softstep.bench.studies.workers.engines import mpi
from softstep.bench.studies.workers.works import digest, overhead, processes_of, rows


def main(words: list[str]) -> int:
    what, *more = words
    with mpi() as executor:
        if what == "bits":
            count, epochs, rounds, expected = more
            print(bits.line("mpi", executor, int(count), int(epochs), int(rounds), expected))
        elif what == "memory":
            print(*memory.lines("mpi", executor, int(*more)), sep="\n")
        elif what == "empty":
            print(curves.empty(executor))
        else:
            count, epochs, folder = more
            overhead(executor, rounds=1)
            X, y = rows(int(count))
            print(processes_of(executor)[0], flush=True)
            print(digest(kills.fit(X, y, int(epochs), folder, executor=executor)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
