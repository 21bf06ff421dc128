"""What the training scripts of the examples share: data, augmentation, schedule, resumable state."""
