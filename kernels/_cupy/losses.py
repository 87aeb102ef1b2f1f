"""The losses as the kernels know them: what losses.cuh is compiled with."""

from softstep.kernels import losses as losses_table
from softstep.kernels.losses import GCE_Q, LOSSES

COMPUTED = ("mse", "cross_entropy", "gce")  # each is a case of the switch in losses.cuh
DEFINES = {
    **{f"LOSS_{name.upper()}": LOSSES[name].code for name in COMPUTED},
    "GCE_Q": repr(GCE_Q),
}


def codes(losses):
    """How the kernels know these losses, (h,); BackendError for one that they do not."""
    return losses_table.codes(losses, COMPUTED, "cupy")
