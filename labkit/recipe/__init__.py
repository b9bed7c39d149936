"""One training run described (`recipe`), and the names to choose from: tasks, networks, …"""
