"""The use cases: no SQL, no HTTP. Transactions begin and end here."""
