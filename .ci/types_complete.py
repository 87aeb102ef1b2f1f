"""Asks pyright what share of the public symbols has known types; the exit code is 1 below LEAST."""

import json
import os
import subprocess
import sys
from pathlib import Path

LEAST = 0.98
SHOWN = 40

command = ("pyright", "--verifytypes", "softstep", "--ignoreexternal", "--outputjson")
# It looks for packages where the first `python` of PATH does.
first = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
done = subprocess.run(
    [sys.executable, "-m", *command],
    capture_output=True,
    text=True,
    check=False,
    env=os.environ | first,
)
found = json.loads(done.stdout)["typeCompleteness"]
for symbol in found["symbols"]:
    is_bad = symbol["isTypeAmbiguous"] or not symbol["isTypeKnown"]
    if symbol["isExported"] and is_bad and (SHOWN := SHOWN - 1) >= 0:
        print(symbol["name"])
print(f"{found['completenessScore']:.1%} of the types are known; at least {LEAST:.0%} are to be")
sys.exit(found["completenessScore"] < LEAST)
