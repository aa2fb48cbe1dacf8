"""Who is told of a run: lvpack.notify."""
