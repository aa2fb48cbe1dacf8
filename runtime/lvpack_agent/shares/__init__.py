"""Shares: where image sets live."""
