"""Virtual machines and what is in them: for `lvpack run`, `lvpack demo` and the end-to-end tests."""
