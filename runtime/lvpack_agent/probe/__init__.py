"""From disks to a Layout, with their partitions and LVs open as mappings."""
