"""Rankings, ratings, leaderboards and judge prompts. Pure."""
