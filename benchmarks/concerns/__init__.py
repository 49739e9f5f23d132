"""`manage.py concern_benchmark`: the cost of each write and read concern, and the anomalies that each permits."""
