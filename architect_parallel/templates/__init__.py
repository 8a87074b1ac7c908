"""`{{ ... }}` placeholders. Pure."""
