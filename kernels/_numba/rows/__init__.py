"""What the ops on rows (n, c) are made of: vectors of logits, sums in float64, compensated sums."""
