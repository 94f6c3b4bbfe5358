"""What the reader keeps: one SQLite file."""
