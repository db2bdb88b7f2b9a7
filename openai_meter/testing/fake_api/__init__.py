"""A loopback API that answers like the real one, and a small workflow that calls it: for demonstrations and tests."""
