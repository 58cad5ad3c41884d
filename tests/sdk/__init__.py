"""The SDK and the command line, against a real HTTP server that plays the API."""
