"""The command line that builds, checks and searches collections."""
