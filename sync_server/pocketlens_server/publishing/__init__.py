"""Rows to signed versions."""
