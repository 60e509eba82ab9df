"""YAML to checked settings to objects."""
