"""Flows and chains: tasks in states, read, planned and run one state at a time."""
