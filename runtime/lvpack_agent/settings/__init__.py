"""What the kernel command line asks for: its values, the table of options, and the reader of both."""
