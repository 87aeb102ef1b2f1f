"""What tests have workers of Dask do, which import it from here."""

import os
import signal
import sys
import time


def kill_itself(file):
    """Leaves a byte there."""
    with file.open("ab") as ended:
        ended.write(b".")
    os.kill(os.getpid(), signal.SIGKILL)


class Slow:
    """What is on its way for a second."""

    def __reduce__(self):
        return arrived, ()


def arrived():
    time.sleep(1)
    return "it is here"


def slow_answer(shard):
    return Slow()


def two_rows_less(block, block_id=None):
    return block[:-2] if block_id[0] == 3 else block


def held(dask_worker):
    """How many results and rows it has."""
    return len(dask_worker.data)


def executing(dask_worker):
    """How many tasks it has begun and not ended."""
    return dask_worker.state.executing_count


def have_another_version():
    import softstep

    softstep.__version__ = "9.9.9"


def have_no_softstep():
    names = [name for name in sys.modules if name.partition(".")[0] == "softstep"]
    sys.hidden = {name: sys.modules.pop(name) for name in names}
    sys.modules["softstep"] = None


def have_this_version(version):
    """Undoes both."""
    sys.modules.update(vars(sys).pop("hidden", {}))
    sys.modules["softstep"].__version__ = version
