"""What each command does, a file each; `hitfinder.cli` declares their options."""
