"""PocketLens sync server: takes catalogue changes and ships signed versions to devices."""
