"""Real mongod and PostgreSQL from wheels, for development and tests."""
