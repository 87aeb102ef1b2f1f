"""`python -m softstep.bench.studies.workers`."""

from softstep.bench.studies.workers import main

raise SystemExit(main())
