"""Qt panes that show volumes; they know nothing of search."""
