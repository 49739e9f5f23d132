"""A backup of both databases while the system runs, and putting it back: `manage.py backup` and `restore`.

docs/backups.md describes the files, and why the two stores agree afterwards.
"""
