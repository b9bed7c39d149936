"""Losses, their slopes, one backward pass by hand, and checks of all of them."""
