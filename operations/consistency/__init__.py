"""Checks that the data of both databases agree: `manage.py check_consistency`.

Each module contains one check: a generator that reads everything once, in batches, and yields inconsistencies. The
system is in use meanwhile, so a difference between two reads is only a suspicion. A check reads each suspect again, in
one transaction or in an order in which a concurrent write cannot be missed, before it reports an inconsistency.

An inconsistency has a repair, or a person must decide. A repair reads its records again in the transaction of its
write, so that two repairs at the same time have the effect of one.
"""
