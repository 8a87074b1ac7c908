"""Checks: a user's commands that judge a worker's result, and what they wrote put back."""
