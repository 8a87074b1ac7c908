"""Supervised processes: start, limit, read and end a whole process tree."""
