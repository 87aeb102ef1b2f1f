"""softstep.bench: the benchmarks and their peers."""

if __name__ != "softstep.bench":
    raise ImportError("this folder is the package softstep.bench: import softstep.bench")
