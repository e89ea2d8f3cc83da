"""From a batch of pixels to scores: artifacts on disk, sessions in memory, and when to run one."""
