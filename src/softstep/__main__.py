"""`python -m softstep` is the `softstep` command."""

import sys

from softstep.cli import main

sys.exit(main())
