"""Banks for the tests of `train` on the GPU backend."""

import numpy as np

from softstep.kernels.losses import LOSSES, Targets
from softstep.kernels.verify import cases
from softstep.kernels.verify.cases import Size

STEPS, LAUNCHES = "one launch", "launches per step"  # the launcher's paths A and B
PATHS = (STEPS, LAUNCHES)
FEATURES = ("float32", "float64", "float16", "uint8")
FLOATS = FEATURES[:2]
SOFT_LOSSES = [loss.name for loss in LOSSES.values() if loss.targets is not Targets.LABELS]
N, D, C, BATCH = 37, 17, 3, 10  # four steps, the last of 7 rows


def bank(size, dtype, batch=None, **options):
    """Arguments of `train`: three steps, the last one short, from logits far from uniform.

    The rate falls with the features, so that a step's rounding errors do not blow up in the next.
    """
    (X, y, order, _, W, b), rest = cases.OPS["train"].arguments(size, dtype, 0)
    batch = batch or size.n // 3 + 1
    rest = {**rest, "learning_rate": min(0.3, 5 / size.d), **options}
    return (X, y, order, batch, 2 * W, b), rest


def small_bank(h, dtype, **options):
    return bank(Size(N, D, C, h), dtype, BATCH, **options)


def mixed(h):
    return [list(LOSSES)[k % len(LOSSES)] for k in range(h)]


def mixed_soft(h):
    """Losses that soft targets have."""
    return [SOFT_LOSSES[k % len(SOFT_LOSSES)] for k in range(h)]


def velocity(h, dtype):
    return cases.weights(h, D, C, cases.weight_dtype(dtype), seed=5)


def sets(h):
    """Three label sets and two weight sets, shared out over the heads; some weights are 0."""
    rng = np.random.default_rng(1)
    weights = rng.uniform(0, 2, (2, N))
    weights[:, ::5] = 0
    return {
        "sample_weight": weights,
        "y_index": rng.integers(0, 3, h),
        "weight_index": rng.integers(0, 2, h),
    }


def settings_of(h, dtype):
    each = np.linspace(0.05, 0.4, h)
    return {
        "losses by head": {"loss": mixed(h)},
        "settings by head": {"learning_rate": each, "l2": each / 2, "momentum": each},
        "schedule": {"learning_rate": np.outer([1, 0.5, 0.25, 0], each)},
        "l2": {"l2": 0.1, "loss": "cross_entropy"},
        "l2 on the bias": {"l2": 0.1, "l2_bias": True},
        "momentum": {"momentum": 0.9},
        "velocity": {"momentum": 0.9, "velocity": velocity(h, dtype)},
        "velocity without momentum": {"velocity": velocity(h, dtype)},
        "no bias": {"fit_bias": False, "momentum": 0.5, "velocity": velocity(h, dtype)},
        "sample weights": {"sample_weight": sets(h)["sample_weight"][0]},
        "sets": {**sets(h), "loss": mixed(h)},
    }
