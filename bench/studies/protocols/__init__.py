"""Published protocols of linear probes: one call of softstep, and the loop that the original runs.

dinov2_linear: 52 heads by SGD, 13 learning rates on each of four ranges of the features, against 52
modules of torch under one optimiser, and against the same banks stacked by hand in torch.
dinov2_logreg: 45 values of C to the optimum, against a loop of LogisticRegression. clip_benchmark:
97 values of λ to the optimum, against a search by 19 trainings in torch. attributes: 40 binary
label sets on the same rows, by ROC AUC and average precision, against a loop over them.

The loops are written anew after the originals (docs/protocols.md says which), on the same features:
images of MNIST where its files are on this machine, else of the digits, through random patches.
Nothing is downloaded. Everybody has all cores, but for the loop over attributes, which is faster on
one, and has done a little of the work before the clock starts. Each protocol runs in a process of
its own; what is done is kept in the file of --out.
"""

import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from softstep.bench.studies import parser, run_apart
from softstep.bench.studies.protocols import (
    attributes,
    clip_benchmark,
    dinov2_linear,
    dinov2_logreg,
)
from softstep.bench.studies.protocols.results import Put, Results

# By the word that --only takes; whether it is to be small, and where its figures go.
PROTOCOLS: dict[str, Callable[[bool, Put], None]] = {
    "dinov2_linear": dinov2_linear.measure,
    "dinov2_logreg": dinov2_logreg.measure,
    "clip_benchmark": clip_benchmark.measure,
    "attributes": attributes.measure,
}


def tell(line: str) -> None:
    """A line of progress."""
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)


def main(argv: list[str] | None = None) -> int:
    """Measure what is asked for, and print the table of all there is."""
    options = parser("protocols", __doc__)
    options.add_argument("--quick", action="store_true", help="small sizes")
    options.add_argument("--only", choices=PROTOCOLS, action="append", help="this one alone")
    options.add_argument("--out", type=Path, help="a .json that keeps what is done")
    given = options.parse_args(argv)
    keys = given.only or list(PROTOCOLS)
    if len(keys) == 1:
        results = Results(given.out)
        tell(keys[0])
        PROTOCOLS[keys[0]](given.quick, partial(results.take, keys[0], tell))
        print(results.table())
        return 0
    path = given.out or Path("protocols.json")
    rest = ["--out", str(path), *["--quick"][: given.quick]]
    failed = [key for key in keys if run_apart("protocols", "--only", key, *rest)]
    print(Results(path).table())
    return int(bool(failed))
