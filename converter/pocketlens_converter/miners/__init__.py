"""Miners, one a file: distances and labels of a batch to the triplets worth learning from."""
