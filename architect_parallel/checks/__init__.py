"""Checks: a user's commands that judge a worker's result. Their changes to the worktree are undone."""
