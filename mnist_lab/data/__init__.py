"""Bytes to batches: hops 1 and 2 of the way of a digit."""
