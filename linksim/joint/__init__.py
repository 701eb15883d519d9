"""Joint source-channel coders: images <-> channel symbols."""
