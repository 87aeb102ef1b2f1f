"""The GPU that is not there: what it has to offer and what it was asked to do."""

import weakref


class Misuse(AssertionError):
    """What CuPy or CUDA lets pass and then gets wrong, silently or much later."""


class CUDARuntimeError(RuntimeError):
    pass


class CUDADriverError(RuntimeError):
    pass


class OutOfMemoryError(MemoryError):
    pass


class CompileException(Exception):
    pass


class Machine:
    """Settings that a test may change, and the log of what was done, such as "to host 128"."""

    def __init__(self):
        self.name = "Emulated GPU"
        self.compute_capability = "80"
        self.device_count = 2
        self.device = 0  # the current one
        self.multiprocessors = 4
        self.launches_cooperatively = True
        self.threads_per_multiprocessor = 2048
        self.shared_per_multiprocessor = 164 << 10
        self.shared_opt_in = 163 << 10  # the most a block can ask for
        self.memory = 1 << 30
        self.pool_limit = 0
        self.pool_free = 0  # freed by the program, kept by CuPy's pool
        self.pending_error = None  # what the next wait, copy or allocation raises
        self.on_release = lambda: None  # called when memory goes back
        self.schedule, self.seed, self.check = "in_order", 0, False  # the emulator's
        self.used = self.most_used = 0  # bytes, now and at most
        self.log = []
        self.ranges = []  # of NVTX, that are open
        self.streams = []  # the current one is the last
        self.unfinished = []  # events that nobody has waited for
        self.kernels = {}  # by handle

    def allocate(self, owner, size):
        """Account for `size` bytes for as long as `owner` lives."""
        self.forbid_in_capture("allocates memory")
        self.report_error()
        room = min(self.pool_limit or self.memory, self.memory)
        if self.used + size > room:
            raise OutOfMemoryError(
                f"Out of memory allocating {size:,} bytes (allocated so far: {self.used:,} bytes)."
            )
        self.used += size
        self.most_used = max(self.most_used, self.used)
        weakref.finalize(owner, self._release, size)

    def _release(self, size):
        self.on_release()
        self.used -= size

    def wait(self):
        self.forbid_in_capture("waits")
        self.report_error()
        self.unfinished.clear()

    def must_be_current(self, device, what):
        """Of an array on another GPU than the current one CuPy would use the wrong stream."""
        if device != self.device:
            raise Misuse(f"{what} on GPU {device}, while GPU {self.device} is the current one")

    def report_error(self):
        """CUDA reports a kernel that failed at whatever comes next."""
        if self.pending_error is not None:
            error, self.pending_error = self.pending_error, None
            raise error

    def forbid_in_capture(self, what):
        if self.streams[-1].recorded is not None:
            raise Misuse(f"{what} while a graph is captured")


class Device:
    """GPU `id`, or the current one; in a `with` block it is the current one."""

    machine = None  # set by the class made for each installed machine

    def __init__(self, id=None):
        self.id = self.machine.device if id is None else id
        if not 0 <= self.id < self.machine.device_count:
            raise CUDARuntimeError("cudaErrorInvalidDevice: invalid device ordinal")
        self._before = []

    @property
    def compute_capability(self):
        return self.machine.compute_capability

    @property
    def attributes(self):
        return {
            "MultiProcessorCount": self.machine.multiprocessors,
            "CooperativeLaunch": int(self.machine.launches_cooperatively),
            "MaxSharedMemoryPerBlockOptin": self.machine.shared_opt_in,
        }

    def __enter__(self):
        self._before.append(self.machine.device)
        self.machine.device = self.id
        return self

    def __exit__(self, *_):
        self.machine.device = self._before.pop()
