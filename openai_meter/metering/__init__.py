"""Calls in flight, whose they are, and what they come to."""
