"""The smallest things that have weights: a neuron, a 2-2-1 network, a loss of two weights."""
