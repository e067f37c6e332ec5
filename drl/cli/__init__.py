"""The command ``drl``: thin commands over the library, one module for each group."""
