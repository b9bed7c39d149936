"""What everything uses: errors, files, threads, registries, parameters, tables.

Nothing here knows of networks, pictures or widgets.
"""
