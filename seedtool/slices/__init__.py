"""Slices: parts of tables that are worked on in parallel, their ledger, and the processes that work."""
