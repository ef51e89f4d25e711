"""Queries made from catalogue pictures, for products of which there is no photo."""
