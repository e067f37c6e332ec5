"""Training again from a record: what was recorded, where it runs now, the work, and what came out.

Runs the record's own code. Nothing here decides whether that is wise: the command line asks first.
"""
