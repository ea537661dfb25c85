"""SQLite: schema and migrations, one group-committing writer, readers beside it."""
