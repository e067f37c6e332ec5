"""The outside systems, one module each and the same shape: settings in, a class out, StoreError when refused.

No store knows another one. Each module imports its client at its top, so import the module where it is used.
"""
