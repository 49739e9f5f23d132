"""`manage.py benchmark_indexes`: how much each index speeds up its query, and its cost for a write."""
