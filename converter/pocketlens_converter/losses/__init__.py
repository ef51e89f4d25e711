"""Losses, one a file: arrays in, one number out; nothing is kept between calls."""
