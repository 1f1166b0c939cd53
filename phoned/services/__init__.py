"""Services that come with phoned and stand outside of it: they know the plug-in face, values and events."""
