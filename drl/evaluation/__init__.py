"""Held-out rollouts, baselines, statistics, the promotion rule and the report; no Ray, no torch."""
