"""The plug-in ``api``: what the entry point names."""
