"""Trains heads and encoders; only the indexer imports it."""
