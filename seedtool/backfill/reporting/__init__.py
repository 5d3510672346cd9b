"""What a backfill tells: what it would do, what it did, what that cost."""
