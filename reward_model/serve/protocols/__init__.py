"""One module for each protocol that a client may speak; each only translates, and scores nothing itself."""
