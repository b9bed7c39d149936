"""Benchmarks: each a ratio against a named peer, measured in one run. `make bench`."""
