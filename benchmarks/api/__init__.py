"""Benchmarks that anybody can run; each compares two things in one run, as machines differ and are shared."""
