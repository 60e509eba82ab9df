"""Batch to logits to nats: hops 3 and 4 of the way of a digit."""
