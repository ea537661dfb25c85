"""PostgreSQL behind the writer: one truth for any number of nodes."""
