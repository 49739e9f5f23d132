"""What `manage.py seed` makes.

`plan` cuts a run into blocks, `staff` and `records` make people and what happened to them as pure functions of the
plan (`diary` books their visits, `keys` names them), `writing` stores them, `workers` spreads the blocks over
processes.

The vocabularies are `names`, `places` and `medicine`; `demo` has the accounts that a trial logs in with.
"""
