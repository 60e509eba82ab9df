"""Records: how right and how quick a network for MNIST can be, each figure with its runs."""
