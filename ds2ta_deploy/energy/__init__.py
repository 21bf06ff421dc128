"""What a network's spikes cost: operations counted where they happen, times named constants."""
