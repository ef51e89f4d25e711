"""PocketLens sync server: takes catalogue changes and ships signed versions to devices.

The part exists so that its name and place are fixed; it holds no code yet.
"""
