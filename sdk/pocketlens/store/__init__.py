"""Rows on disk: what a device holds of a catalogue."""
