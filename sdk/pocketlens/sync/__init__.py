"""Signed versions to the device."""
