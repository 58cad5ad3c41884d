"""Data and persistence: tables, repositories, migrations, and the dataclasses that cross Temporal."""
