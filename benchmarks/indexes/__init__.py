"""`manage.py benchmark_indexes`: what each index gives the query that it is there for, and what it costs a write."""
