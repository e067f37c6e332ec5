"""Environments, and how the pipeline file's ``entry_point`` becomes one."""
