"""Facts about the user's repository: registered worktrees, branches, owners, filters."""
