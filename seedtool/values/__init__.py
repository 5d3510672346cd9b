"""Values: the vocabulary of value kinds, from which generated rows and masks are made. Nothing here reads a clock."""
