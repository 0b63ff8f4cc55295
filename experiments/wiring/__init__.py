"""Wiring diagrams of nervous systems, from a package or from anybody's files, and what is read off them."""
