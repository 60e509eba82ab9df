"""Single images to probabilities, in words and figures."""
