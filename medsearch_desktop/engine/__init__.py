"""A query and a collection become ranked cases."""
