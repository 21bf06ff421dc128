"""Event recordings: readers of N-MNIST, Prophesee and AEDAT4 files, and what turns events into frames of counts."""
