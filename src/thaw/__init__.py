"""Thaw: freeze a pretrained network, cache what it computes, train a head, thaw, compare."""
