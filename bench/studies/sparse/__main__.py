"""`python -m softstep.bench.studies.sparse`."""

from softstep.bench.studies.sparse import main

raise SystemExit(main())
