"""`python -m softstep.bench.studies.over_rows`."""

from softstep.bench.studies.over_rows import main

if __name__ == "__main__":
    raise SystemExit(main())
