"""Encoders: one module a family, found by name or folder."""
