"""Backups of both databases, made while the system runs: `manage.py backup` and `manage.py restore`.

docs/backups.md describes the files, and why the two databases agree after a restore.
"""
