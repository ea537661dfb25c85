"""The writer over an engine; SQLite as one: schema, transactions, the lock; the reader."""
