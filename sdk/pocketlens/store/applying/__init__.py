"""Deltas to rows of a store that is in use."""
