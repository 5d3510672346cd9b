"""A run at work: whose turn it is, what is in the air, and how it is written down when it comes back."""
