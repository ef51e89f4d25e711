"""Bytes and values: every format of PocketLens, read and written without IO."""
