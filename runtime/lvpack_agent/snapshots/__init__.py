"""Copy-on-write stores and what stands on them."""
