"""Benchmarks against peers: `make bench-NAME SIZE=small|full`. See docs/benchmarks.md."""
