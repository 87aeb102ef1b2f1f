"""What results are compared with: test cases, exact gradients, derived error bounds, the oracle."""
