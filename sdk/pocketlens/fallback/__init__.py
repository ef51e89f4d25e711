"""Asking a server where the device is unsure, and where the app allows it."""
