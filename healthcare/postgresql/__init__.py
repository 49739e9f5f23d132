"""The database engine of accounts, bills and the audit log: Django's, with a limit on waiting for answers.

`prepared_statements`, `circuit_breaker` and `cache` are for the code that every request runs. Django itself loads
`base`.
"""
