"""`manage.py failover_demo`: a replica set broken under load, and what was acknowledged held against what is there.

running    the command's process: starts the servers, breaks them, tells what happens
load       a process beside it that books, cancels, completes and prescribes through the services
ledger     what the load was answered, and what of it is in the databases
watching   what each member says it is
output     the display, the tables, JSON and the chart
"""
