"""Side-by-side measurements with peers. `python -m benchmarks.NAME --help`; results in results/."""
