"""A research bench for MNIST."""
