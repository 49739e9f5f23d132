"""The seeder behind `manage.py seed`, which fills the databases with invented records.

`plan` divides a run into blocks. `staff` makes the doctors and `records` the patients and their records, both as pure
functions of the plan: `slot_allocator` chooses the slots of visits and `keys` the primary keys. `writing` stores the
result, and `workers` spreads the blocks over several processes.

`names`, `places` and `medicine` read the vocabulary from the files in `data`. `demo` makes the demo accounts.
"""
