"""What similar items say of another: its price, its attributes."""
