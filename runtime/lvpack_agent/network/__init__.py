"""The network of the live image, brought up as the kernel command line asks."""
