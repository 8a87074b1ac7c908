"""Which worker runs next, again or never. Pure."""
