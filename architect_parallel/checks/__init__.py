"""Checks: a user's commands that judge a worker's result; their changes to the worktree are undone."""
