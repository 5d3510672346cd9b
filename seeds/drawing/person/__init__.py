"""People: what they look like, and how they are drawn from the shoulders up."""
