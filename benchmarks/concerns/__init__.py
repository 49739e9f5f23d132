"""`manage.py concern_benchmark`: what each write and read concern costs, and what it leaves to chance."""
