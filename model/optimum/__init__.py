"""The optimum of every head of a bank, by L-BFGS for all of them at once, each with a proof."""
