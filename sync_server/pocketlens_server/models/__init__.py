"""Models that embed pictures: the bundle that phones run, and its float sibling."""
