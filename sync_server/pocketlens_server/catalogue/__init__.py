"""What backends say of a catalogue -> its values."""
