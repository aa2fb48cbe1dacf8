"""What a layout shall become. Arithmetic only: no process, no file, no clock."""
