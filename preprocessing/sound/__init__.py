"""Sound: networks and files that give audio features, their windows, and the lag between sound and mouth."""
