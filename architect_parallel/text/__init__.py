"""Quantities, names and text for people. Pure."""
