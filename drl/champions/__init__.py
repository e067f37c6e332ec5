"""Which policy is the champion of a model: what the statements say, rolling back, and the daily audit."""
