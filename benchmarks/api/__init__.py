"""Benchmarks of the API. Each compares two systems in one run, because machines differ and are shared."""
