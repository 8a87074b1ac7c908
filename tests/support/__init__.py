"""Helpers of the tests: repositories, consoles, made-up results, servers and agents."""
