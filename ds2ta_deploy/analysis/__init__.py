"""What the integer grid costs, layer by layer: each one alone, and all up to it."""
