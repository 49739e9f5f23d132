"""The transactional outbox: events of clinical changes, stored with the change and delivered after the commit."""
