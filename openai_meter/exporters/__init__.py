"""Metrics for other systems."""
