"""A photo to 28x28."""
