"""Snapshots: the content of a worktree as commits and keep refs, whatever state git is in there."""
