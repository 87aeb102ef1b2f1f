"""What the emulator cannot see: the compiled barrier of path A has its release, acquire and cg.

The emulator runs one thread at a time on one memory, so that a missing fence or a stale L1 line
never shows there.
"""

import re

import nvrtc
import pytest
import variants

from softstep.kernels._cupy.kernel import options, source
from softstep.kernels._cupy.losses import DEFINES

pytestmark = pytest.mark.skipif(nvrtc.missing() is not None, reason=str(nvrtc.missing()))

RELEASE = "red.release.gpu.global.add.u32"
ACQUIRE = "ld.acquire.gpu.global.u32"
GIVES_UP = "st.relaxed.gpu.global.u32"


def defines(real):
    kind = 1 if real == "double" else 0
    return {**DEFINES, "REAL": real, "X_KIND": kind, "Y_SOFT": 0, "ROW_LANES": 2,
            "SLICE_FEATURES": 32, "THREADS": 256}  # fmt: skip


def ptx_of(architecture, real, text=None):
    opts = options(defines(real))
    text = source("train_steps.cu") if text is None else text
    _, ptx = nvrtc.compile_source(text, "train_steps.cu", opts, architecture)
    return ptx[ptx.index(".entry train_steps") :]


def reached_without_a_barrier(lines, start):
    """The lines that a thread may come to from `start` before it meets the other threads."""
    labels = {line[:-1]: i for i, line in enumerate(lines) if line[0] == "$" and line[-1] == ":"}
    seen, todo = set(), [start + 1]
    while todo:
        i = todo.pop()
        if i in seen or i >= len(lines) or lines[i].startswith(("bar.sync", "ret")):
            continue
        seen.add(i)
        branch = re.search(r"\bbra(?:\.uni)?\s+(\S+);", lines[i])
        if branch:
            todo.append(labels[branch[1]])
        if not branch or lines[i].startswith("@"):
            todo.append(i + 1)
    return seen


def faults(ptx, suffix):
    """What is wrong with a grid barrier and with what blocks hand to each other."""
    lines = [line.strip() for line in ptx.splitlines() if line.strip()]
    at = {
        name: {i for i, line in enumerate(lines) if line.startswith(pattern)}
        for name, pattern in (
            ("release", RELEASE), ("acquire", ACQUIRE),
            ("store", f"st.global.cg.{suffix}"), ("load", f"ld.global.cg.{suffix}"),
            ("flags stored", "st.global.cg.s32"), ("flags loaded", "ld.global.cg.s32"),
            ("sleep", "nanosleep"), ("giving up", GIVES_UP),
        )
    }  # fmt: skip
    found = [f"no {name}" for name, places in at.items() if not places]
    for first, then in (("store", "release"), ("release", "load"), ("acquire", "load")):
        if any(reached_without_a_barrier(lines, i) & at[then] for i in at[first]):
            found.append(f"no block barrier between {first} and {then}")
    if "%globaltimer" not in ptx:
        found.append("no clock")
    if re.search(r"ld\.global\.nc|ld\.volatile|membar|fence", ptx):
        found.append("another kind of load or fence")
    return found


@pytest.mark.parametrize("architecture", nvrtc.ARCHITECTURES)
@pytest.mark.parametrize(("real", "suffix"), [("float", "f32"), ("double", "f64")])
def test_blocks_hand_over_through_l2_by_release_and_acquire(architecture, real, suffix):
    if architecture not in nvrtc.architectures():
        pytest.skip(f"this NVRTC does not know sm_{architecture}")
    ptx = ptx_of(architecture, real)
    assert faults(ptx, suffix) == []
    assert ptx.count(RELEASE) == 2  # a barrier, and one more by owner


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("red.release.gpu", "red.relaxed.gpu", "no release"),
        ("ld.acquire.gpu", "ld.relaxed.gpu", "no acquire"),
        ("ld.global.cg.f32", "ld.global.ca.f32", "no load"),
        ("st.global.cg.f32", "st.global.wb.f32", "no store"),
        ("ld.global.cg.s32", "ld.global.ca.s32", "no flags loaded"),
        ("  __syncthreads();  // what this", "  // what this", "between store and"),
        ("  __syncthreads();  // the others read", "  // the others read", "between acquire and"),
        ("%globaltimer", "%clock64", "no clock"),
        ("store_relaxed(exchange.gave_up, 1);", "", "no giving up"),
    ],
)
def test_a_barrier_with_a_part_missing_is_refused(old, new, fault):
    text = source("train_steps.cu")
    assert text.count(old) == 1
    assert any(
        fault in found for found in faults(ptx_of(80, "float", text.replace(old, new)), "f32")
    )


def test_no_sum_is_atomic():
    """No atomic but the arrivals at the barrier, in any kernel of `train`."""
    seen = set()
    for file, name, kernel_defines in variants.everything():
        if not name.startswith("train_") or name in seen:
            continue
        seen.add(name)
        _, ptx = nvrtc.compile_source(source(file), file, options(kernel_defines), 80)
        atomics = re.findall(r"\b(?:atom|red)\.\S+", ptx)
        assert set(atomics) <= {RELEASE}
        assert bool(atomics) == (name == "train_steps")
    assert len(seen) == 8


def test_the_bias_is_added_in_a_loop_that_most_threads_leave_out():
    """Among the weights' sums it would be DEPTH x 4 additions more, for every thread."""
    for file, name, kernel_defines in variants.everything():
        if name != "train_update" or kernel_defines["TILE_COLUMNS"] != 64:
            continue
        _, ptx = nvrtc.compile_source(source(file), file, options(kernel_defines), 80)
        additions = re.findall(r"\badd\.(?:rn\.)?(?:ftz\.)?f32", ptx)
        products = re.findall(r"\bfma\.rn\.(?:ftz\.)?f32", ptx)
        assert len(products) > 256  # DEPTH x 4 x 4, and the update's
        assert 0 < len(additions) < 16
