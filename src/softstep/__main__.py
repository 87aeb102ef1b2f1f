"""`python -m softstep` is the `softstep` command."""

import sys

from softstep.cli.main import main

sys.exit(main())
