"""What an operator does to a whole server: back it up, restore it, look it over."""
