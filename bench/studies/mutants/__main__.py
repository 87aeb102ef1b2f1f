"""`python -m softstep.bench.studies.mutants`."""

from softstep.bench.studies.mutants import main

if __name__ == "__main__":
    raise SystemExit(main())
