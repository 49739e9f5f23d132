"""`manage.py failover_demo`: injects a fault into a replica set under load and looks for lost writes.

demonstration   the command's process: starts the servers, injects the fault, reports the events
load            a process that books, cancels, completes and prescribes through the services
ledger          the results that the load received, compared with the databases
monitor         the state of each member over time
output          the live display, the tables, JSON and the chart
"""
