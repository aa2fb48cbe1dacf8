"""What is on the disks. Values only: no process, no file, no clock."""
