"""What both databases say, held against itself: `manage.py check_consistency`.

Each module holds one check: a function that reads everything once, in batches, and yields its findings. The system is
alive meanwhile, so a difference between two reads is only a suspicion: each is looked at again, in one transaction or
in an order in which a write cannot hide, before it becomes a finding. A finding brings its repair, or takes a person.
Repairs read again what they mend, in the transaction of their write: two at once do what one does.
"""
