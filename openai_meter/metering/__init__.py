"""Calls in flight, their attribution, and the meter that counts them."""
