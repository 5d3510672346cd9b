"""What each command does, as functions for scripts and tests."""
