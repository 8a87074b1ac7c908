"""Tripwire: changes outside of a worker's worktree, and which worker made them."""
