"""MedSearch Desktop: finds similar radiology cases on one machine, without a network."""

__version__ = "0.1.0"
