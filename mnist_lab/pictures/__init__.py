"""A photo to 28x28 to ten probabilities."""
