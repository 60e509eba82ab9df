"""Gradients to steps: optimizers, and schedules of the learning rate."""
