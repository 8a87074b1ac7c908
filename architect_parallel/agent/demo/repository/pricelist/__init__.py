"""A small price list."""
