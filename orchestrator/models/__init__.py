"""Models: what a reference means, what the Hub knows about it, and its files delivered to hosts."""
