"""`python -m softstep.bench.studies.protocols`."""

from softstep.bench.studies.protocols import main

if __name__ == "__main__":
    raise SystemExit(main())
