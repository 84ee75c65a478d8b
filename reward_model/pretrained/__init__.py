"""Judges that ship with the package: small fits on people's votes, each in a folder with its card."""
