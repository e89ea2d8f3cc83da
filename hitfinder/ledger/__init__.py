"""Every frame ends in exactly one outcome, and the totals balance, in memory and on disk."""
