"""Data: a source by its digest becomes cleaned, checked and split columns."""
