"""Scaling: ladders of experiments, laws fitted to their losses, and muP's check of coordinates."""
