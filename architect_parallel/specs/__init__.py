"""Specs: a description of several tasks with dependencies, read, planned, run and landed."""
