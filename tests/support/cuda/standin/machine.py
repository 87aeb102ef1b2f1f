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
        self.device_count = 1
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
        self.schedule, self.seed, self.check = "in_order", 0, False  # the emulator's
        self.used = 0
        self.log = []
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
        weakref.finalize(owner, self._release, size)

    def _release(self, size):
        self.used -= size

    def wait(self):
        self.forbid_in_capture("waits")
        self.report_error()
        self.unfinished.clear()

    def report_error(self):
        """CUDA reports a kernel that failed at whatever comes next."""
        if self.pending_error is not None:
            error, self.pending_error = self.pending_error, None
            raise error

    def forbid_in_capture(self, what):
        if self.streams[-1].recorded is not None:
            raise Misuse(f"{what} while a graph is captured")
