"""A network looked into: what it gets right, what not, and how sure it is."""
