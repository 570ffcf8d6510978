"""The commands of the command line, by what they are for. Each loads only what it needs."""
