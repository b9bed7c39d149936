"""Toy losses over two weights, and what optimizers do on them."""
