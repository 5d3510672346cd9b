"""Snapshots: named copies of the target, kept on its server as sealed databases and in files for elsewhere.

`saving` makes one, `restoring` puts a clone of one in the target's place, `store` says which there are and changes
their names; `archive` writes one to a file and reads it back.
"""
