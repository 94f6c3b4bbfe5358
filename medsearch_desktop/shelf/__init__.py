"""What the reader keeps: two copies of one SQLite file."""
