"""Fixtures of the browser tests."""

from browser_seat import approved, asked, chromium, seat, server

__all__ = ["approved", "asked", "chromium", "seat", "server"]
