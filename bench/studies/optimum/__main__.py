"""`python -m softstep.bench.studies.optimum`."""

from softstep.bench.studies.optimum import main

if __name__ == "__main__":
    raise SystemExit(main())
