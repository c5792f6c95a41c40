"""What other systems export, as entries of ours: a module a system."""
