"""Snapshots: named copies of the target, kept on its server as sealed databases and in files for elsewhere.

`snapshots` saves and restores, `store` says which there are, `archive` writes one to a file and reads it back.
"""
