"""The tables of docs/gpu.md: all of them come from the code as it is compiled, or are calculated.

python tables.py            # prints them (some minutes: it compiles every kernel)
python tables.py --write    # puts them into the page, in place of those that are there
"""

import re
import sys
from pathlib import Path

import budget
import faults_table
import nvrtc
import sass
import waits
import works

from softstep.bench.studies import roofline

PAGE = Path(__file__).parents[3] / "docs" / "gpu.md"
CALCULATED = (faults_table.table, roofline.table, waits.table)  # nothing is compiled for them


def registers():
    """What threads and blocks take."""
    return nvrtc.table(nvrtc.compile_all())


def all_tables():
    """Each as markdown, a heading in its first line."""
    yield works.table_of_aims()
    yield registers()
    yield budget.table(nvrtc.architectures())
    yield works.table()
    for table in CALCULATED:
        yield table()


def renewed(page, table):
    """The page with this table in place of the one that has its first line."""
    heading = re.escape(table.partition("\n")[0])
    page, count = re.subn(rf"^{heading}\n(\|.*\n)+", lambda _: f"{table}\n", page, flags=re.M)
    if count != 1:
        raise ValueError(f"{count} tables begin so: {heading}")
    return page


def write():
    """Renew all tables of the page."""
    page = PAGE.read_text(encoding="utf-8")
    for table in all_tables():
        page = renewed(page, table)
    page = re.sub(r"NVRTC \d+\.\d+", f"NVRTC {nvrtc.version()}", page)
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    if reason := sass.missing():
        raise SystemExit(reason)
    if "--write" in sys.argv:
        write()
    else:
        print(*all_tables(), sep="\n\n")
