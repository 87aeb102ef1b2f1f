"""What tests have workers of Dask do, which import it from here."""

import os
import signal
import sys


def kill_itself(file):
    """Leaves a byte there."""
    with file.open("ab") as ended:
        ended.write(b".")
    os.kill(os.getpid(), signal.SIGKILL)


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
